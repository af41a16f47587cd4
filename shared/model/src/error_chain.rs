//! Errors in one line.

use std::error::Error;

/// An error and its causes, in one line for a log, without what may hold the app's secret.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    threads_graph::redacted(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_shows_the_apps_token() {
        let cause = std::io::Error::other("no answer for TH|123|CANARY here");
        let error = std::io::Error::other(format!("access_token=TH%7C123%7CCANARY: {cause}"));
        assert_eq!(error_chain(&error), "access_token=TH|(redacted) no answer for TH|(redacted) here");
    }
}
