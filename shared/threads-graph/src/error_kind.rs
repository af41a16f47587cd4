//! The meanings of a failure: kinds, causes and problems, their names and their sentences.

use std::fmt;
use std::time::Duration;

use crate::names;

/// The meaning of a failure for the caller.
///
/// Exhaustive on purpose: a new kind is a breaking change, so that each caller decides what follows
/// from it, rather than a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A transient failure: a timeout, a lost connection, HTTP 5xx, Meta's codes 1 and 2 or
    /// `is_transient`, a temporary redirect, or an answer that is not a JSON object (HTML, empty,
    /// cut short, too large).
    Transient,
    /// Too many calls: HTTP 429, or Meta's codes 4, 17, 32, 341, 613 and 368 (a temporary block).
    Throttled {
        /// The wait that Meta requests, at most 24 hours, if it is in seconds.
        retry_after: Option<Duration>,
    },
    /// The token is dead: Meta's codes 102 and 190. Only a new login by the person helps.
    /// [`is_telling`](ReauthorizationCause::is_telling) returns true if it is certain.
    NeedsReauthorization(ReauthorizationCause),
    /// The person, or Meta's app review, has not given this permission: Meta's codes 10 and 200 to
    /// 299.
    Permission,
    /// The authorization code was used already, has expired, or is not a code.
    CodeUnusable,
    /// The app is set up wrongly, here or in Meta's dashboard. A retry by the person does not help.
    Configuration(ConfigurationProblem),
    /// The token is younger than 24 hours and cannot be refreshed yet. It is alive.
    TooYoung,
    /// A success that lacks a required field. The token may be alive.
    Malformed,
    /// A refusal that fits nothing else. The token may be alive.
    Rejected,
}

names! {
    /// The reason why a token is dead. Exhaustive, as [`ErrorKind`] is.
    pub enum ReauthorizationCause {
        /// Subcode 463: it has expired. Subcode 493 (access to the person's data has expired)
        /// counts as this too.
        Expired => "expired",
        /// Subcode 460: the person changed the password.
        PasswordChanged => "password_changed",
        /// Subcode 458: the person removed the app.
        AppRemoved => "app_removed",
        /// Subcode 459: the person must log in at Meta and pass a checkpoint.
        Checkpoint => "checkpoint",
        /// Subcode 464: the account is not confirmed.
        Unconfirmed => "unconfirmed",
        /// Code 102 without a known subcode: the session is not valid.
        SessionInvalid => "session_invalid",
        /// Subcode 467, and code 190 with an unknown subcode or none.
        Invalid => "invalid",
    }
}

names! {
    /// The part of the app's setup that is wrong.
    #[non_exhaustive]
    pub enum ConfigurationProblem {
        /// The app secret does not belong to the app id.
        WrongAppSecret => "wrong_app_secret",
        /// The app id is unknown: most often the Meta app id in place of the Threads app id.
        WrongAppId => "wrong_app_id",
        /// The redirect URI is not the registered one, not the one of the first step, or not https.
        RedirectMismatch => "redirect_mismatch",
        /// Meta has blocked, disabled or deleted the app. The accounts and tokens may be intact,
        /// and people report apps that came back after days.
        AppBlocked => "app_blocked",
        /// The API has another address now: HTTP 301 or 308.
        /// [`Error::moved_to`](crate::Error::moved_to) has its host.
        Moved => "moved",
        /// The app is not published, and the person is not a tester of it, or has not accepted the
        /// invitation.
        NotATester => "not_a_tester",
        /// Something else.
        Other => "other",
    }
}

names! {
    /// An [`ErrorKind`] without its details, for logs, metrics and storage.
    pub enum ErrorClass {
        /// [`ErrorKind::Transient`].
        Transient => "transient",
        /// [`ErrorKind::Throttled`].
        Throttled => "throttled",
        /// [`ErrorKind::NeedsReauthorization`].
        NeedsReauthorization => "needs_reauthorization",
        /// [`ErrorKind::Permission`].
        Permission => "permission",
        /// [`ErrorKind::CodeUnusable`].
        CodeUnusable => "code_unusable",
        /// [`ErrorKind::Configuration`].
        Configuration => "configuration",
        /// [`ErrorKind::TooYoung`].
        TooYoung => "too_young",
        /// [`ErrorKind::Malformed`].
        Malformed => "malformed",
        /// [`ErrorKind::Rejected`].
        Rejected => "rejected",
    }
}

impl ReauthorizationCause {
    /// Returns true if Meta's response names the cause, by a subcode. Without one the failure may
    /// be Meta's own: people report hours in which live tokens get 190 without a subcode, or 467.
    #[must_use]
    pub fn is_telling(self) -> bool {
        match self {
            Self::Expired
            | Self::PasswordChanged
            | Self::AppRemoved
            | Self::Checkpoint
            | Self::Unconfirmed => true,
            Self::SessionInvalid | Self::Invalid => false,
        }
    }
}

impl ErrorKind {
    /// The class, without details: for logs, metrics and storage.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Transient => ErrorClass::Transient,
            Self::Throttled { .. } => ErrorClass::Throttled,
            Self::NeedsReauthorization(_) => ErrorClass::NeedsReauthorization,
            Self::Permission => ErrorClass::Permission,
            Self::CodeUnusable => ErrorClass::CodeUnusable,
            Self::Configuration(_) => ErrorClass::Configuration,
            Self::TooYoung => ErrorClass::TooYoung,
            Self::Malformed => ErrorClass::Malformed,
            Self::Rejected => ErrorClass::Rejected,
        }
    }

    /// Returns true if the failure is about the token: dead, or too young to be refreshed.
    #[must_use]
    pub fn is_about_token(&self) -> bool {
        matches!(self, Self::NeedsReauthorization(_) | Self::TooYoung)
    }

    /// Returns true if the same call may succeed later without any change here:
    /// [`Transient`](Self::Transient), [`Throttled`](Self::Throttled),
    /// [`TooYoung`](Self::TooYoung), [`Malformed`](Self::Malformed), and while Meta blocks
    /// [the whole app](ConfigurationProblem::AppBlocked).
    ///
    /// An authorization code is the exception: a call that spent it may have lost only its
    /// response.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Transient
                | Self::Throttled { .. }
                | Self::TooYoung
                | Self::Malformed
                | Self::Configuration(ConfigurationProblem::AppBlocked)
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "Meta could not be reached, or answered with a passing failure",
            Self::Throttled { .. } => "Meta requires fewer calls",
            Self::NeedsReauthorization(cause) => match cause {
                ReauthorizationCause::Expired => "the access token has expired",
                ReauthorizationCause::PasswordChanged => {
                    "the access token ended when the person changed the password"
                }
                ReauthorizationCause::AppRemoved => "the person has removed the app",
                ReauthorizationCause::Checkpoint => "the person has to pass a checkpoint at Meta first",
                ReauthorizationCause::Unconfirmed => "the person's account is not confirmed",
                ReauthorizationCause::SessionInvalid => "the person's session is not valid any more",
                ReauthorizationCause::Invalid => "the access token is not valid any more",
            },
            Self::Permission => "a permission is missing",
            Self::CodeUnusable => "the authorization code was used already, has expired or is not one",
            Self::Configuration(problem) => match problem {
                ConfigurationProblem::WrongAppSecret => "the app secret does not belong to the app id",
                ConfigurationProblem::WrongAppId => "the app id is not that of a Threads app",
                ConfigurationProblem::RedirectMismatch => {
                    "the redirect URI is not the registered one, or not the one the person was sent with"
                }
                ConfigurationProblem::AppBlocked => "Meta has blocked or deleted the app",
                ConfigurationProblem::Moved => "Meta has moved",
                ConfigurationProblem::NotATester => "the person is not a tester of the app",
                ConfigurationProblem::Other => "the app is set up wrongly in Meta's dashboard",
            },
            Self::TooYoung => "the access token is younger than 24 hours and cannot be refreshed yet",
            Self::Malformed => "Meta's answer lacks what it must have",
            Self::Rejected => "Meta refused the request",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        for cause in ReauthorizationCause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
        assert_eq!(
            "".parse::<ReauthorizationCause>().unwrap_err().to_string(),
            "expected one of expired, password_changed, app_removed, checkpoint, unconfirmed, session_invalid, invalid"
        );
        let telling = ReauthorizationCause::ALL.map(ReauthorizationCause::is_telling);
        assert_eq!(telling, [true, true, true, true, true, false, false]);
        for problem in ConfigurationProblem::ALL {
            assert_eq!(problem.as_str().parse(), Ok(problem));
            let may_pass = problem == ConfigurationProblem::AppBlocked;
            assert_eq!(ErrorKind::Configuration(problem).is_retryable(), may_pass, "{problem}");
        }
        let kinds = [
            (ErrorKind::Transient, "transient", true),
            (ErrorKind::Throttled { retry_after: None }, "throttled", true),
            (ErrorKind::NeedsReauthorization(ReauthorizationCause::Expired), "needs_reauthorization", false),
            (ErrorKind::Permission, "permission", false),
            (ErrorKind::CodeUnusable, "code_unusable", false),
            (ErrorKind::Configuration(ConfigurationProblem::Other), "configuration", false),
            (ErrorKind::TooYoung, "too_young", true),
            (ErrorKind::Malformed, "malformed", true),
            (ErrorKind::Rejected, "rejected", false),
        ];
        for (kind, name, retryable) in kinds {
            assert_eq!((kind.class().as_str(), kind.is_retryable()), (name, retryable));
        }
    }
}
