//! The words of the document: codes, statuses, causes, reasons.
//!
//! Owns one enum for each. Refuses to refuse: a word of a later version is kept as `Other`, with
//! its text.

/// Declares enums of words, each with its text, and `Other` for every text that is none of them.
macro_rules! words {
    ($($(#[$doc:meta])* $enum:ident { $($(#[$word_doc:meta])* $variant:ident => $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $enum {
            $($(#[$word_doc])* #[doc = concat!("\n\nIts word is `", $word, "`.")] $variant,)+
            /// A word of a later version.
            Other(String),
        }

        impl $enum {
            /// The words that this version knows.
            pub const KNOWN: &[&str] = &[$($word),+];

            /// The word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<String> for $enum {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $($word => Self::$variant,)+
                    _ => Self::Other(word),
                }
            }
        }

        impl From<&str> for $enum {
            fn from(word: &str) -> Self {
                word.to_owned().into()
            }
        }

        impl ::std::fmt::Display for $enum {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::serde::Serialize for $enum {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $enum {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as ::serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }
    )+};
}

words! {
    /// The error for programs.
    ErrorCode {
        /// The request is invalid.
        BadRequest => "bad_request",
        /// The return address is invalid, not on the allowlist, or has a reserved parameter.
        ReturnToRefused => "return_to_refused",
        /// The request is not signed by Meta for this app.
        BadSignedRequest => "bad_signed_request",
        /// The route is deployed without IAM authorization, or a request for a public one has
        /// bypassed CloudFront.
        Forbidden => "forbidden",
        /// The completion code belongs to another session.
        WrongCompletion => "wrong_completion",
        /// The session belongs to another user than the one who is logged in.
        WrongReference => "wrong_reference",
        /// The route does not exist.
        NotFound => "not_found",
        /// There is no session with this id.
        SessionUnknown => "session_unknown",
        /// No account with this id is connected.
        UnknownUser => "unknown_user",
        /// No account was connected in this session.
        SessionNotConnected => "session_not_connected",
        /// The completion code was already redeemed.
        SessionCompletedBefore => "session_completed_before",
        /// The person has to connect again, unless Meta accepts the token again.
        NeedsReauthorization => "needs_reauthorization",
        /// The account was disconnected, and the person has to connect again.
        Revoked => "revoked",
        /// Nobody has claimed the account yet, and only the completion of its session does.
        AccountUnclaimed => "account_unclaimed",
        /// The session was not completed in time.
        SessionExpired => "session_expired",
        /// The account was deleted before the session was completed.
        AccountGone => "account_gone",
        /// The account's row is inconsistent.
        Unreadable => "unreadable",
        /// The person has consented, but there is no long-lived token yet.
        Pending => "pending",
        /// The token expires before `min_valid`, and Meta extends no token younger than 24 hours.
        TooYoung => "too_young",
        /// Meta has not extended the token.
        NotRefreshed => "not_refreshed",
        /// Another refresh of the token is still running.
        Busy => "busy",
        /// Meta has just refused the token in a way that may be its own fault. It is checked again,
        /// 15 minutes later at the earliest, and is not handed out until then.
        Suspected => "suspected",
        /// Accounts cannot be found by their reference yet: an operator deploys the data's stack.
        NoReferenceIndex => "no_reference_index",
        /// The store or the secrets are temporarily unavailable.
        Unavailable => "unavailable",
    }

    /// The status of an account.
    AccountStatus {
        /// The person has consented, but there is no long-lived token yet.
        Pending => "pending",
        /// There is a token, which is kept alive.
        Active => "active",
        /// The person has to connect again, unless Meta accepts the token again.
        NeedsReauthorization => "needs_reauthorization",
        /// The person or the app has disconnected the account, or it was not claimed in time.
        Revoked => "revoked",
    }

    /// The status of an account for the user who has just claimed it.
    ConnectedStatus {
        /// The account is connected.
        Connected => "connected",
        /// There is no long-lived token yet, but usually within the hour.
        Pending => "pending",
        /// The person has to connect again.
        NeedsReauthorization => "needs_reauthorization",
        /// The account was disconnected before the completion.
        Revoked => "revoked",
    }

    /// The reason why the person has to connect again, or the one who disconnected the account.
    Cause {
        /// The token has expired.
        Expired => "expired",
        /// The person has changed the password.
        PasswordChanged => "password_changed",
        /// The person has removed the app, according to Meta's refusal of the token.
        AppRemoved => "app_removed",
        /// The person has to log in at Meta and pass a checkpoint.
        Checkpoint => "checkpoint",
        /// The person's account at Meta is not confirmed.
        Unconfirmed => "unconfirmed",
        /// The session behind the token is invalid, according to Meta.
        SessionInvalid => "session_invalid",
        /// Meta refuses the token without a cause.
        Invalid => "invalid",
        /// The long-lived exchange never succeeded, and the short-lived token has expired.
        NotCompleted => "not_completed",
        /// The app's access to this person's data has ended.
        DataAccessExpired => "data_access_expired",
        /// A refresh was cut off, its new token was lost, and Meta refuses the one before.
        TokenLost => "token_lost",
        /// Revoked: the person has removed the app at Threads, by Meta's notification.
        Threads => "threads",
        /// Revoked: the backend disconnected it.
        App => "app",
        /// Revoked: the account was not claimed in time.
        Unclaimed => "unclaimed",
        /// Revoked: it is not recorded by whom. Only errors have this cause.
        Unknown => "unknown",
    }

    /// The class of a failure.
    FailureClass {
        /// Meta could not be reached, or reported a temporary error.
        Transient => "transient",
        /// Meta throttled the calls.
        Throttled => "throttled",
        /// Meta refused the token.
        NeedsReauthorization => "needs_reauthorization",
        /// A permission is missing, the person's or that of Meta's app review.
        Permission => "permission",
        /// An authorization code was already used, has expired or is invalid.
        CodeUnusable => "code_unusable",
        /// The app is set up wrongly, here or at Meta.
        Configuration => "configuration",
        /// Meta extends no token younger than 24 hours.
        TooYoung => "too_young",
        /// A successful response of Meta lacks a required field.
        Malformed => "malformed",
        /// Meta refused for any other reason.
        Rejected => "rejected",
        /// The account's row was inconsistent.
        BrokenRow => "broken_row",
        /// The token does not live longer after its refresh.
        NotExtended => "not_extended",
        /// Meta refused the token in a way that does not count yet.
        Suspected => "suspected",
        /// The token does not open with the keyring.
        Undecryptable => "undecryptable",
    }

    /// The status of a session.
    SessionStatus {
        /// No attempt has been recorded yet.
        Open => "open",
        /// An account was connected, and the completion code discloses it.
        Connected => "connected",
        /// The person denied consent.
        Denied => "denied",
        /// The last attempt failed.
        Failed => "failed",
        /// The session can no longer be used.
        Expired => "expired",
    }

    /// The reason why a session was denied or has failed.
    SessionReason {
        /// Denied: the person denied consent.
        UserDenied => "user_denied",
        /// Denied: Meta gave another reason.
        OtherReason => "other",
        /// Failed: Meta ended the login with an error.
        ThreadsFailed => "threads_failed",
        /// Failed: the account was disconnected or deleted while the person was at Threads.
        Ended => "ended",
        /// Failed: the login was for another account than `user_id`.
        WrongAccount => "wrong_account",
        /// Failed: Threads refused its own authorization code.
        CodeRefused => "code_refused",
        /// Failed: Meta was unavailable, or throttled the app.
        ThreadsUnavailable => "threads_unavailable",
        /// Failed: the store or the secrets were unavailable.
        Unavailable => "unavailable",
        /// Failed: the app's settings are wrong, here or at Meta, which the person cannot correct.
        Misconfigured => "misconfigured",
        /// Failed ten times, which closes the session.
        TooManyFailures => "too_many_failures",
    }

    /// The source of an account's scopes.
    ScopesSource {
        /// Meta's inspection of the token.
        Granted => "granted",
        /// The request: no inspection has shown which of the scopes the person declined.
        Requested => "requested",
    }

    /// The subject of a warning: it is about to end.
    Deadline {
        /// The token.
        Token => "token",
        /// The app's access to the person's data.
        DataAccess => "data_access",
        /// The account, unless its session is completed.
        Claim => "claim",
    }
}
