//! Error messages in one line.

use std::error::Error;

/// Formats an error and its causes in one line for a log, without anything that may hold the app's
/// secret. A cause is left out if the error above it already contains its text.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = cause.source();
    }
    threads_graph::redacted(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_not_repeated() {
        #[derive(Debug)]
        struct Chained(&'static str, Option<Box<Chained>>);
        impl std::fmt::Display for Chained {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Chained {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|cause| cause as _)
            }
        }
        let cause = |text| Some(Box::new(Chained(text, None)));
        assert_eq!(error_chain(&Chained("a", cause("b"))), "a: b");
        assert_eq!(error_chain(&Chained("a: b", cause("b"))), "a: b");
        assert_eq!(error_chain(&Chained("a", None)), "a");
    }

    #[test]
    fn no_text_shows_the_apps_token() {
        let cause = std::io::Error::other("no answer for TH|123|CANARY here");
        let error = std::io::Error::other(format!("access_token=TH%7C123%7CCANARY: {cause}"));
        assert_eq!(error_chain(&error), "access_token=TH|(redacted) no answer for TH|(redacted) here");
    }
}
