//! Composes the sessions function. Unlike the others it needs no secret, and its role may read
//! none.

// The layout of the program's single future exceeds the compiler's default limit.
#![recursion_limit = "256"]

use threads_auth::ThreadsAuth;
use threads_auth_web::{Failure, configure, serve_programs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &ThreadsAuth::new(configure("sessions")?)?;
    serve_programs(service, |request, now| async move { sessions::handle(service, &request, now).await })
        .await
}
