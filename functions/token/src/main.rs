//! Composes the token function.

use threads_auth::Table;
use threads_auth_web::{Failure, serve_programs, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &start("token", Table::Grants).await?;
    serve_programs(service, |request, now| async move { token::handle(service, &request, now).await }).await
}
