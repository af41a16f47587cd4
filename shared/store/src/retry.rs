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

/// Maximum number of attempts of a write that fails because of its item. A single such refusal may
/// be transient.
const TRIES_OF_AN_ITEM: u32 = 3;

/// Retries a write until it succeeds or `deadline` is reached: a token that Meta has issued exists
/// only here. Even a refusal that looks permanent is therefore retried, such as a missing KMS key.
/// One that concerns only this item is retried a few times.
///
/// # Errors
/// Returns the last [`StoreError`] if the write has not succeeded by the deadline, or cannot
/// succeed.
pub async fn persist<T, F>(deadline: Instant, write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut refused = 0;
    let is_retryable = |kind: FailureKind| {
        refused += u32::from(kind == FailureKind::ThisItem);
        refused < TRIES_OF_AN_ITEM
    };
    repeat_while(deadline, write, is_retryable).await
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
    mut is_retryable: impl FnMut(FailureKind) -> bool,
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::AwsError;

    const AN_HOUR: Duration = Duration::from_hours(1);

    fn failure(kind: FailureKind) -> StoreError {
        let source: Box<dyn std::error::Error + Send + Sync> = "no".into();
        StoreError::DynamoDb(AwsError {
            service: "DynamoDB",
            operation: "write".into(),
            kind,
            code: "No".to_owned(),
            source: source.into(),
        })
    }

    /// Counts the attempts of a write that fails `failures` times.
    async fn attempts(kind: FailureKind, failures: u32, deadline: Duration, is_token: bool) -> u32 {
        let made = Cell::new(0);
        let write = async || {
            made.set(made.get() + 1);
            if made.get() > failures { Ok(()) } else { Err(failure(kind)) }
        };
        let deadline = Instant::now() + deadline;
        let result = if is_token { persist(deadline, write).await } else { repeat(deadline, write).await };
        assert_eq!(result.is_ok(), made.get() > failures, "{kind:?}");
        made.get()
    }

    #[tokio::test]
    async fn a_token_is_written_again_until_it_is_stored_and_no_item_that_never_can_be() {
        assert_eq!(attempts(FailureKind::ThisItem, 4, AN_HOUR, true).await, TRIES_OF_AN_ITEM);
        for kind in FailureKind::ALL {
            assert_eq!(attempts(kind, 1, AN_HOUR, true).await, 2, "{kind:?}");
            let expected = if kind.is_transient() { 2 } else { 1 };
            assert_eq!(attempts(kind, 1, AN_HOUR, false).await, expected, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn nothing_is_tried_again_after_the_deadline() {
        for is_token in [true, false] {
            assert_eq!(attempts(FailureKind::Throttled, 3, Duration::ZERO, is_token).await, 1);
        }
    }
}
