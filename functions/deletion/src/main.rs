//! Composes the deletion function.

use threads_auth::Table;
use threads_auth_web::{Failure, serve_pages, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &start("deletion", Table::Grants).await?;
    serve_pages(service, |request, now| async move { deletion::handle(service, &request, now).await }).await
}
