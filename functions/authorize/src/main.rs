//! Composes the authorize function.

use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &lambda_edge::start("authorize").await?;
    lambda_edge::serve_http(|request, now| async move { authorize::handle(service, &request, now).await })
        .await
}
