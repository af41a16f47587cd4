//! Composes the events function.

use events::Announcer;
use threads_auth_web::{Failure, configure, serve_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let announcer = &Announcer::new(&configure("events")?)?;
    serve_event(|batch, now, _| async move { Ok(announcer.handle(&batch, now).await) }).await
}
