//! Composes the webhook function.

use std::convert::Infallible;

use threads_auth_web::{Failure, configure, secret_age, serve_event};
use webhook::WebhookFunction;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let config = &configure("webhook")?;
    let function = &WebhookFunction::new(config)?;
    serve_event(|batch, now, _| async move {
        let handled = function.handle(&batch, now).await;
        secret_age(config, now, function.stale_for(now).await);
        Ok::<_, Infallible>(handled)
    })
    .await
}
