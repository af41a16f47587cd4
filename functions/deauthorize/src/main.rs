//! Composes the deauthorize function.

use threads_auth::Table;
use threads_auth_web::{Failure, serve_programs, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &start("deauthorize", Table::Grants).await?;
    serve_programs(service, |request, now| async move { deauthorize::handle(service, &request, now).await })
        .await
}
