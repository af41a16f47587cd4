//! Composes the authorize function.

use threads_auth_web::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &threads_auth_web::start("authorize").await?;
    threads_auth_web::serve_http(
        |request, now| async move { authorize::handle(service, &request, now).await },
    )
    .await
}
