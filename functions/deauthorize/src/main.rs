//! Composes the deauthorize function.

use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &lambda_edge::start("deauthorize").await?;
    lambda_edge::serve_http(|request, now| async move { deauthorize::handle(service, &request, now).await })
        .await
}
