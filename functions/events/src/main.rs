//! Composes the events function.

use std::convert::Infallible;

use events::EventPublisher;
use threads_auth_web::{Failure, configure, serve_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let publisher = &EventPublisher::new(&configure("events")?)?;
    serve_event(|batch, now, _| async move { Ok::<_, Infallible>(publisher.handle(&batch, now).await) }).await
}
