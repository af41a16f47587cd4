//! Composes the sessions function.

use lambda_edge::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &lambda_edge::start("sessions").await?;
    lambda_edge::serve_http(|request, now| async move { sessions::handle(service, &request, now).await })
        .await
}
