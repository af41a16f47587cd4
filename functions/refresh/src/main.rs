//! Composes the refresh function.

use threads_auth_web::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &threads_auth_web::start("refresh").await?;
    threads_auth_web::serve_event(|event, now, left| async move {
        refresh::handle(service, event, now, left)
            .await
            .map_err(Into::into)
    })
    .await
}
