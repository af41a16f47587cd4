//! Composes the token function.

use threads_auth_web::Failure;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &threads_auth_web::start("token").await?;
    threads_auth_web::serve_http(|request, now| async move { token::handle(service, &request, now).await })
        .await
}
