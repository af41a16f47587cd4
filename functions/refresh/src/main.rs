//! Composes the refresh function.

use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &lambda_edge::start("refresh").await?;
    lambda_edge::serve_event(|event, now, left| async move {
        refresh::handle(service, event, now, left)
            .await
            .map_err(Into::into)
    })
    .await
}
