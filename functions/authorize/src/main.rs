//! Composes the authorize function.

use threads_auth_web::{Failure, serve_http, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &start("authorize").await?;
    serve_http(
        service.config(),
        |request, now| async move { authorize::handle(service, &request, now).await },
    )
    .await
}
