//! Composes the deletion function.

use threads_auth_web::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &threads_auth_web::start("deletion").await?;
    threads_auth_web::serve_http(|request, now| async move { deletion::handle(service, &request, now).await })
        .await
}
