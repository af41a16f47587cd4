//! Composes the deletion function.

use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &lambda_edge::start("deletion").await?;
    lambda_edge::serve_http(|request, now| async move { deletion::handle(service, &request, now).await })
        .await
}
