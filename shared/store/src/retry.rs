//! The retry of a database write, and the pauses of every retry.

use std::time::Duration;

use tokio::time::Instant;

use crate::{FailureKind, StoreError};

/// Pauses that grow by a factor up to a longest one.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The next pause.
    pub next: Duration,
    /// How many times longer each further one is.
    pub factor: u32,
    /// The longest one.
    pub longest: Duration,
}

impl Backoff {
    /// Waits for the next pause, but at least for `asked`, within the longest one.
    pub async fn wait(&mut self, asked: Option<Duration>) {
        tokio::time::sleep(asked.unwrap_or_default().max(self.next).min(self.longest)).await;
        self.next = (self.next * self.factor).min(self.longest);
    }
}

/// Writes until it is written or `deadline` comes: a token that Meta has issued exists only here.
/// So even a refusal that looks final is tried again, unless it is about this item or a table that
/// does not exist.
///
/// # Errors
/// When the write has not succeeded by then, or cannot.
pub async fn persist<T, F>(deadline: Instant, write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    repeat_while(deadline, write, |kind| !matches!(kind, FailureKind::Missing | FailureKind::ThisItem)).await
}

/// Does it again while it fails for a reason that may pass, until `deadline`. Whoever asked for it
/// can ask again, and so is told at once what time does not mend.
///
/// # Errors
/// When it has not succeeded by then, or cannot.
pub async fn repeat<T, F>(deadline: Instant, attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    repeat_while(deadline, attempt, FailureKind::is_transient).await
}

async fn repeat_while<T, F>(
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
    is_worth_it: impl Fn(FailureKind) -> bool,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff { next: Duration::from_millis(50), factor: 2, longest: Duration::from_secs(2) };
    loop {
        match attempt().await {
            Err(StoreError::DynamoDb(error))
                if is_worth_it(error.kind) && Instant::now() + backoff.next < deadline =>
            {
                let (code, operation) = (error.code, error.operation);
                tracing::warn!(code, %operation, "DynamoDB failed; trying again");
                backoff.wait(None).await;
            }
            result => return result,
        }
    }
}
