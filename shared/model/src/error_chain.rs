//! Errors in one line.

use std::error::Error;

/// An error and its causes, in one line for a log, without what may hold the app's secret. A cause
/// that the error above it has told already is not repeated.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    threads_graph::redacted(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        #[derive(Debug)]
        struct Tells(&'static str, Option<Box<Tells>>);
        impl std::fmt::Display for Tells {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Tells {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|cause| cause as _)
            }
        }
        let cause = |text| Some(Box::new(Tells(text, None)));
        assert_eq!(error_chain(&Tells("a", cause("b"))), "a: b");
        assert_eq!(error_chain(&Tells("a: b", cause("b"))), "a: b");
        assert_eq!(error_chain(&Tells("a", None)), "a");
    }

    #[test]
    fn no_text_shows_the_apps_token() {
        let cause = std::io::Error::other("no answer for TH|123|CANARY here");
        let error = std::io::Error::other(format!("access_token=TH%7C123%7CCANARY: {cause}"));
        assert_eq!(error_chain(&error), "access_token=TH|(redacted) no answer for TH|(redacted) here");
    }
}
