//! Composes the refresh function.

use threads_auth::Table;
use threads_auth_web::{Failure, serve_event, start};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let service = &start("refresh", Table::Grants).await?;
    serve_event(|event, now, left| async move { refresh::handle(service, event, now, left).await }).await
}
