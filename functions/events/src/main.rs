//! Composes the events function.

use std::convert::Infallible;

use events::Announcer;
use threads_auth_web::{Failure, configure, serve_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let announcer = &Announcer::new(&configure("events")?)?;
    serve_event(|batch, now, _| async move { Ok::<_, Infallible>(announcer.handle(&batch, now).await) }).await
}
