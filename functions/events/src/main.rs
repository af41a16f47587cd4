//! Composes the events function.

use events::Announcer;
use threads_auth_web::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let announcer = &Announcer::new(&threads_auth_web::configure("events")?)?;
    threads_auth_web::serve_event(|batch, now, _| async move { Ok(announcer.handle(&batch, now).await) })
        .await
}
