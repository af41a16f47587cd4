//! The credentials that sign.
//!
//! Owns the last ones that the provider gave, so that not every call asks a metadata service or
//! STS. Refuses to look for any itself.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tokio::sync::Mutex;

/// Credentials are replaced so long before they expire.
const AHEAD: Duration = Duration::from_mins(2);
/// Those that do not expire are asked for again after this time, as AWS's SDKs do.
const WITHOUT_END: Duration = Duration::from_mins(15);

pub(crate) struct Kept {
    provider: SharedCredentialsProvider,
    /// The last credentials, and the time until which they need no replacement.
    last: Mutex<Option<(Credentials, SystemTime)>>,
}

impl Kept {
    pub(crate) fn new(provider: impl ProvideCredentials + 'static) -> Self {
        Self { provider: SharedCredentialsProvider::new(provider), last: Mutex::new(None) }
    }

    /// Returns credentials that are good at `now`. One caller asks for new ones, and the others
    /// wait.
    pub(crate) async fn at(&self, now: SystemTime) -> Result<Credentials, CredentialsError> {
        let mut last = self.last.lock().await;
        if let Some((credentials, until)) = &*last
            && now < *until
        {
            return Ok(credentials.clone());
        }
        match (self.provider.provide_credentials().await, &*last) {
            (Ok(new), _) => {
                let until = new.expiry().map_or(now + WITHOUT_END, |end| end - AHEAD);
                *last = Some((new.clone(), until));
                Ok(new)
            }
            (Err(_), Some((old, _))) if old.expiry().is_none_or(|end| now < end) => Ok(old.clone()),
            (Err(error), _) => Err(error),
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
}
