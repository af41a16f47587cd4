//! Progress bars for long operations. They are visible on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// For a known share of the whole, such as the bytes of a file.
pub(crate) const SHARE: &str = "{bar:30} {percent:>3} %  {msg}  {eta} left";
/// For a known number of items.
pub(crate) const COUNT: &str = "{bar:20} {pos} of {len}, {rate}, {eta} left  {wide_msg}";
const UNKNOWN: &str = "{spinner} {elapsed}  {msg}";

/// Returns a bar of this shape, or a spinner if the length is unknown.
pub(crate) fn bar(length: Option<u64>, shape: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_style(style(UNKNOWN));
    if let Some(length) = length {
        known(&bar, length, shape);
    }
    bar
}

/// Sets the length of a bar that had none.
pub(crate) fn known(bar: &ProgressBar, length: u64, shape: &str) {
    bar.set_style(style(shape));
    bar.set_length(length);
}

/// Returns a spinner with a message.
pub(crate) fn spinner(text: &str) -> ProgressBar {
    let bar = bar(None, "");
    bar.set_message(text.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn style(shape: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.1}/s", state.per_sec());
    };
    ProgressStyle::with_template(shape)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("rate", rate)
}
