//! The retries of database writes, and the backoff of every retry.

use std::time::Duration;

use tokio::time::Instant;

use crate::{FailureKind, StoreError};

/// Pauses that grow exponentially up to a maximum.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The next pause.
    pub next: Duration,
    /// The factor by which each further pause grows.
    pub factor: u32,
    /// The longest pause.
    pub longest: Duration,
}

impl Backoff {
    /// Waits for the next pause, or for `asked` if that is longer, but no longer than the maximum.
    pub async fn wait(&mut self, asked: Option<Duration>) {
        tokio::time::sleep(asked.unwrap_or_default().max(self.next).min(self.longest)).await;
        self.next = (self.next * self.factor).min(self.longest);
    }
}

/// Retries a write until it succeeds or `deadline` is reached: a token that Meta has issued exists
/// only here. Even a refusal that looks final is therefore retried, unless it concerns this item or
/// a table that does not exist.
///
/// # Errors
/// Returns the last [`StoreError`] if the write has not succeeded by the deadline, or cannot
/// succeed.
pub async fn persist<T, F>(deadline: Instant, write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    repeat_while(deadline, write, |kind| !matches!(kind, FailureKind::Missing | FailureKind::ThisItem)).await
}

/// Retries an operation while it fails for a transient reason, until `deadline`. The caller can
/// repeat its own request, so every other failure is returned at once.
///
/// # Errors
/// Returns the last [`StoreError`] if the operation has not succeeded by the deadline, or cannot
/// succeed.
pub async fn repeat<T, F>(deadline: Instant, attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    repeat_while(deadline, attempt, FailureKind::is_transient).await
}

async fn repeat_while<T, F>(
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
    is_retryable: impl Fn(FailureKind) -> bool,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff { next: Duration::from_millis(50), factor: 2, longest: Duration::from_secs(2) };
    loop {
        match attempt().await {
            Err(StoreError::DynamoDb(error))
                if is_retryable(error.kind) && Instant::now() + backoff.next < deadline =>
            {
                let (code, operation) = (error.code, error.operation);
                tracing::warn!(code, %operation, "DynamoDB failed; trying again");
                backoff.wait(None).await;
            }
            result => return result,
        }
    }
}
