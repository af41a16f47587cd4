//! The credentials that sign.
//!
//! Owns the last ones that the provider gave, so that not every call asks a metadata service or
//! STS. Refuses to look for any itself.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Credentials are replaced so long before they expire.
const AHEAD: Duration = Duration::from_mins(2);
/// The time that a provider has: a metadata service that does not answer must not hold up calls
/// whose credentials are still good.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time for which a provider that has failed is not asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Those that do not expire are asked for again after this time, as AWS's SDKs do.
const WITHOUT_END: Duration = Duration::from_mins(15);

pub(crate) struct Kept {
    provider: SharedCredentialsProvider,
    patience: Duration,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    credentials: Option<Credentials>,
    /// The provider is not asked again before.
    until: Option<SystemTime>,
}

impl Kept {
    pub(crate) fn new(provider: impl ProvideCredentials + 'static) -> Self {
        let provider = SharedCredentialsProvider::new(provider);
        Self { provider, patience: PATIENCE, last: Mutex::default() }
    }

    /// Returns credentials that are good at `now`. One caller asks for new ones, and the others
    /// wait.
    pub(crate) async fn at(&self, now: SystemTime) -> Result<Credentials, CredentialsError> {
        let mut last = self.last.lock().await;
        let good = |last: &Last| {
            let credentials = last.credentials.as_ref()?;
            credentials.expiry().is_none_or(|end| now < end).then(|| credentials.clone())
        };
        if last.until.is_some_and(|until| now < until) {
            let failed = || CredentialsError::not_loaded("the provider has failed a moment ago");
            return good(&last).ok_or_else(failed);
        }
        let asked = timeout(self.patience, self.provider.provide_credentials()).await;
        match asked.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(self.patience))) {
            Ok(new) => {
                let until = new.expiry().map_or(now + WITHOUT_END, |end| end - AHEAD);
                *last = Last { credentials: Some(new.clone()), until: Some(until) };
                Ok(new)
            }
            Err(error) => {
                last.until = Some(now + AGAIN_AFTER);
                good(&last).ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_credential_types::provider::future;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// Hands out credentials for an hour, until it is out of reach.
    #[derive(Debug, Clone)]
    struct Metadata {
        asked: Arc<AtomicU64>,
        reach: u64,
        life: Option<Duration>,
    }

    impl ProvideCredentials for Metadata {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed);
            let end = self.life.map(|life| SystemTime::UNIX_EPOCH + life);
            future::ProvideCredentials::ready(if asked < self.reach {
                Ok(Credentials::new("key", "secret", Some(asked.to_string()), end, "test"))
            } else {
                Err(CredentialsError::not_loaded_no_source())
            })
        }
    }

    async fn tokens(reach: u64, life: Option<Duration>, minutes: &[u32]) -> Vec<Option<String>> {
        let kept = Kept::new(Metadata { asked: Arc::default(), reach, life });
        let mut tokens = Vec::new();
        for minute in minutes {
            let found = kept.at(SystemTime::UNIX_EPOCH + MINUTE * *minute).await;
            tokens.push(found.ok().and_then(|found| Some(found.session_token()?.to_owned())));
        }
        tokens
    }

    #[tokio::test]
    async fn credentials_are_asked_for_before_they_end_and_not_for_each_call() {
        let some = |text: &str| Some(text.to_owned());
        let hour = Some(Duration::from_hours(1));
        assert_eq!(tokens(9, hour, &[0, 0, 57, 58]).await, [some("0"), some("0"), some("0"), some("1")]);
        assert_eq!(tokens(9, None, &[0, 14, 15, 29]).await, [some("0"), some("0"), some("1"), some("1")]);
        // The metadata service is out of reach: the last ones do as long as they live.
        assert_eq!(tokens(1, hour, &[0, 58, 59, 60]).await, [some("0"), some("0"), some("0"), None]);
        assert_eq!(tokens(0, None, &[0]).await, [None]);
    }

    /// Never answers.
    #[derive(Debug)]
    struct Silence(Arc<AtomicU64>);

    impl ProvideCredentials for Silence {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, Ordering::Relaxed);
            future::ProvideCredentials::new(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_provider_that_hangs_is_asked_once_in_ten_seconds() {
        let asked = Arc::new(AtomicU64::new(0));
        let kept = Kept { patience: Duration::ZERO, ..Kept::new(Silence(Arc::clone(&asked))) };
        for (second, expected) in [(0, 1), (0, 1), (9, 1), (10, 2)] {
            assert!(kept.at(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).await.is_err());
            assert_eq!(asked.load(Ordering::Relaxed), expected);
        }
    }
}
