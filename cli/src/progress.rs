//! What moves while something takes long. Only a terminal sees it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A turning sign with a text.
pub(crate) fn spinner(text: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {msg}") {
        bar.set_style(style);
    }
    bar.set_message(text.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
