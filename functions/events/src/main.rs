//! Composes the events function.

use events::Announcer;
use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let announcer = &Announcer::new(&lambda_edge::configure("events")?)?;
    lambda_edge::serve_event(|batch, now, _| async move { Ok(announcer.handle(&batch, now).await) }).await
}
