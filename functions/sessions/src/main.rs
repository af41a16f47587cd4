//! Composes the sessions function. Unlike the others it needs no secret, and its role may read none.

use lambda_edge::Failure;
use threads_auth::ThreadsAuth;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &ThreadsAuth::new(lambda_edge::configure()?)?;
    lambda_edge::serve_http(|request, now| async move { sessions::handle(service, &request, now).await })
        .await
}
