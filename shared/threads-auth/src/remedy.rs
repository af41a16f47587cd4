//! The remedies for Meta's errors: the party at fault, the service's own part, and what else helps.
//!
//! Owns these texts: `docs/ERRORS.md`, `doctor` and the command's advice use them. Contains none of
//! Meta's error numbers: `threads_graph::KNOWN_ERRORS` has them.

use threads_graph::{ConfigurationProblem, DialogError, ErrorKind, ReauthorizationCause};

threads_graph::names! {
    /// The party that causes an error.
    pub enum Party {
        /// The operator of the service, who has the app at Meta.
        Operator => "operator",
        /// The person whose account it is.
        Person => "person",
        /// Meta.
        Meta => "meta",
        /// No party is at fault: the error also occurs in normal operation.
        Nobody => "nobody",
    }
}

/// The remedies for an error of Meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    /// The party that causes the error.
    pub of: Party,
    /// The service's own reaction, in full sentences like the other texts.
    pub service: &'static str,
    /// The remedy for the operator, or for the user of the command line.
    pub operator: &'static str,
    /// The remedy for the app's backend.
    pub backend: &'static str,
    /// The remedy for the person.
    pub person: &'static str,
}

const RETRIED: &str = "A refresh is tried again by itself, within twelve hours, and sooner the nearer the token's end is. Meanwhile the stored token is handed out while it lives. Nothing is marked.";
const LATER: &str = "After a 503, ask again when `Retry-After` says.";
const MARKED: &str = "The account is marked at once, unless Meta refuses most of what a sweep asks for. The event `account.needs_reauthorization` has the cause, and `GET /users/{user_id}/token` answers 409.";
const APPEALED: &str = "The same as for `expired`. But the token is kept and looked at again from the next day on, and if Meta takes it, the account comes back with `account.recovered`.";
const SUSPECTED: &str = "The token is suspected, because Meta has refused living tokens like this, and looked at again after 15 minutes at the earliest. The account is marked when a second witness agrees, or at the token's own end; until then `GET /users/{user_id}/token` answers 503 `suspected`.";
const RECONNECT: &str =
    "Send the person to connect again: the 409's `reconnect` is the body for `POST /sessions`.";
const CONNECT_AGAIN: &str = "Connect again.";
const OF_THE_APP: &str = "No account is marked and no token dropped: each is tried again within twelve hours, and a sweep stops after 20 such answers in a row. A login ends as `misconfigured`. The alarm app-refused rings.";
const IDS: &str = "Take \"Threads App ID\" and \"Threads App secret\" of App settings > Basic in Meta's dashboard, not the plain \"App ID\" there. `threads-auth configure` writes them for a stack.";
const REDIRECTS: &str = "It has to be one of the \"Redirect Callback URLs\" in Meta's dashboard, letter for letter, and the same in both steps.";
const NOT_THEIRS: &str = "Nothing: it is not their doing.";

impl Remedy {
    /// Returns the remedies for an error of this kind.
    #[must_use]
    pub fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Transient => Self {
                of: Party::Meta,
                service: RETRIED,
                operator: "Nothing is known to be wrong with the token. Try again later. If it lasts, the alarm oldest-overdue rings: look at Meta's status page.",
                backend: LATER,
                person: "Try the login again.",
            },
            ErrorKind::Throttled { .. } => Self {
                of: Party::Operator,
                service: "The same as for `transient`, and no earlier than `Retry-After` says, as far as the token's end allows.",
                operator: "Nothing is known to be wrong with the token. Try again later. Look which other programs call Meta for the app: the limit is the app's. `GraphCallsPerHour` keeps sweeps within a limit of yours. For 368 the dashboard has a notice.",
                backend: "Call Meta less often. After a 503, ask again when `Retry-After` says.",
                person: "Try the login again later.",
            },
            ErrorKind::NeedsReauthorization(cause) => Self::of_cause(cause),
            ErrorKind::Permission => Self {
                of: Party::Person,
                service: "A refresh is tried again within twelve hours. If Meta refuses the person's data at the known end of access, or twice, the account is marked with `data_access_expired`.",
                operator: "See whether App Review has allowed the permission to the app, and whether the login asks for it (`scopes`, else `THREADS_SCOPES`).",
                backend: "Send the person to connect again, with the permission among the `scopes` of `POST /sessions`.",
                person: "Connect again, and leave the permission switched on.",
            },
            ErrorKind::CodeUnusable => Self {
                of: Party::Nobody,
                service: "The login ends as `code_refused`. Nothing is stored, and no account is touched.",
                operator: "Nothing, if it is rare: somebody loaded an old page again. If it is frequent, look for a scanner or a proxy that opens the callback before the browser.",
                backend: "Open the session's `url` again while it lives, or begin another one.",
                person: "Start again: a code works once, for an hour.",
            },
            ErrorKind::Configuration(problem) => Self::of_problem(problem),
            ErrorKind::TooYoung => Self {
                of: Party::Nobody,
                service: "The refresh waits for a day. If by our record the token is older, its life was extended and the answer got lost: it is recorded so.",
                operator: "Nothing is wrong with the token. Try again when it is a day old.",
                backend: "Use the token: it lives. After a 503 `too_young`, ask again when `Retry-After` says.",
                person: "Nothing.",
            },
            ErrorKind::Malformed => Self {
                of: Party::Meta,
                service: RETRIED,
                operator: "Nothing is known to be wrong with the token. Try again later. If it lasts, look for a newer version: Meta's answers may have changed, which the alarm drift tells.",
                backend: LATER,
                person: "Try the login again.",
            },
            ErrorKind::Rejected => Self {
                of: Party::Operator,
                service: RETRIED,
                operator: "Look the code up in Meta's documentation, and ask its support, with the `fbtrace_id` of the same day.",
                backend: "For calls of your own: the message says what is wrong with the request. The token is not refused.",
                person: "Try the login again.",
            },
        }
    }

    fn of_cause(cause: ReauthorizationCause) -> Self {
        let dead = Self {
            of: Party::Person,
            service: MARKED,
            operator: "Nothing: only its person can bring the account back.",
            backend: RECONNECT,
            person: CONNECT_AGAIN,
        };
        match cause {
            ReauthorizationCause::Expired => Self {
                of: Party::Operator,
                operator: "Only its person can bring the account back. Find out why nobody refreshed it: oldest-overdue and weakest-token have rung before.",
                ..dead
            },
            ReauthorizationCause::PasswordChanged => dead,
            ReauthorizationCause::AppRemoved => {
                Self { person: "Connect again, if they want to have the app back.", ..dead }
            }
            ReauthorizationCause::Checkpoint => Self {
                service: APPEALED,
                person: "Log in to Threads, and do what it asks for. If the account does not come back, connect again.",
                ..dead
            },
            ReauthorizationCause::Unconfirmed => Self {
                service: APPEALED,
                person: "Confirm the account in Threads. If it does not come back, connect again.",
                ..dead
            },
            ReauthorizationCause::SessionInvalid | ReauthorizationCause::Invalid => Self {
                of: Party::Nobody,
                service: SUSPECTED,
                operator: "If it is one account, only its person can bring it back. If it is many, the alarm wave rings: wait, or `threads-auth pause --verdicts`. If another program refreshes the same tokens, stop it.",
                backend: "Ask with `refused=`. Send the person to connect again after a 409 only: its `reconnect` is the body for `POST /sessions`.",
                ..dead
            },
        }
    }

    fn of_problem(problem: ConfigurationProblem) -> Self {
        let app = Self {
            of: Party::Operator,
            service: OF_THE_APP,
            operator: "",
            backend: LATER,
            person: NOT_THEIRS,
        };
        match problem {
            ConfigurationProblem::WrongAppSecret | ConfigurationProblem::WrongAppId => {
                Self { operator: IDS, ..app }
            }
            ConfigurationProblem::RedirectMismatch => Self {
                service: "The login ends as `misconfigured`. No account is touched.",
                operator: REDIRECTS,
                ..app
            },
            ConfigurationProblem::AppBlocked => Self {
                operator: "It is about the app, and nothing is known to be wrong with the account or its token. Meta's dashboard has the reason, under Alerts and App Review. Try again when the app is back.",
                ..app
            },
            ConfigurationProblem::Moved => Self {
                of: Party::Meta,
                operator: "Set THREADS_GRAPH_URL to the new address (`ThreadsGraphUrl` of a stack), once Meta has announced it: whoever answers there gets every token.",
                ..app
            },
            ConfigurationProblem::NotATester => Self {
                service: "The login ends as `misconfigured`. No account is touched.",
                operator: "Invite the account in Meta's dashboard under App roles > Roles > Threads Testers; its person accepts in the Threads app under Settings > Account > Website permissions > Invites. Once the app is published, nobody has to be a tester.",
                person: "Accept the invitation in the Threads app, and connect again.",
                ..app
            },
            // `Other`, and kinds that only a later version of the client knows.
            _ => Self {
                service: "Mostly none of it comes back to the service: the person sees Meta's page. What comes back ends the login as `threads_failed`, or as `misconfigured`.",
                operator: "This error code is not known. Compare the settings in Meta's dashboard, under the use case \"Access the Threads API\" > Settings, with those that `threads-auth configure` prints.",
                person: "Have a Threads account: with one of Instagram alone the dialog does not go on. Open it in the browser and not in the app.",
                ..app
            },
        }
    }

    /// Returns the remedies for an error page of Meta's dialog.
    #[must_use]
    pub fn of_dialog(error: Option<DialogError>) -> Self {
        let problem = error.map_or(ConfigurationProblem::Other, DialogError::problem);
        let known = Self::of_problem(problem);
        let unheard = "None of it comes back to the service: the person sees Meta's page.";
        match error {
            Some(DialogError::UnlistedRedirect) => Self {
                service: unheard,
                operator: "In Meta's dashboard, under the use case \"Access the Threads API\" > Settings, add the address to \"Redirect Callback URLs\", letter for letter and with or without a final slash as it is sent, press Enter so that it becomes a tag, fill the other two fields, and save. If the dashboard adds a slash that is not sent, set the parameter RedirectTrailingSlash to true.",
                ..known
            },
            Some(DialogError::InsecureRedirect) => Self {
                service: unheard,
                operator: "Meta sends nobody back to http: the public address has to be https (parameter DomainName, or a tunnel with --public-url for `threads-auth dev`).",
                ..known
            },
            _ => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use threads_graph::KNOWN_ERRORS;

    #[test]
    fn each_known_error_says_what_helps() {
        for row in KNOWN_ERRORS {
            let remedy = match row.dialog {
                Some(_) => Remedy::of_dialog(row.dialog),
                None => Remedy::of(row.kind),
            };
            for words in [remedy.service, remedy.operator, remedy.backend, remedy.person] {
                assert!(words.ends_with('.') && words.starts_with(char::is_uppercase), "{row:?}: {words}");
            }
        }
        let unknown = Remedy::of_dialog(DialogError::from_code(100)).operator;
        assert!(unknown.contains("error code is not known"), "{unknown}");
    }
}
