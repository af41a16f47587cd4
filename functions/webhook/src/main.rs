//! Composes the webhook function.

use std::convert::Infallible;

use threads_auth_web::{Failure, configure, serve_event};
use webhook::WebhookFunction;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let function = &WebhookFunction::new(&configure("webhook")?)?;
    serve_event(|batch, now, _| async move { Ok::<_, Infallible>(function.handle(&batch, now).await) }).await
}
