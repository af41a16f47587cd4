//! Composes the token function.

use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &lambda_edge::start("token").await?;
    lambda_edge::serve_http(|request, now| async move { token::handle(service, &request, now).await }).await
}
