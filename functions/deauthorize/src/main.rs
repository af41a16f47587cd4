//! Composes the deauthorize function.

use threads_auth_web::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &threads_auth_web::start("deauthorize").await?;
    threads_auth_web::serve_http(
        |request, now| async move { deauthorize::handle(service, &request, now).await },
    )
    .await
}
