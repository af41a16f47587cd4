//! Reading an input as lines of text, so that the corpora can be read and written by hand.

/// Returns the first lines and the rest, if the input is text. Missing lines are empty.
pub(crate) fn lines<const N: usize>(data: &[u8]) -> Option<([&str; N], &str)> {
    let mut rest = std::str::from_utf8(data).ok()?;
    let first = std::array::from_fn(|_| {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        line
    });
    Some((first, rest))
}

/// Asserts that `shown` has no part of `secret`, of any use to somebody.
pub(crate) fn assert_hides(shown: &str, secret: &str) {
    const TELLING: usize = 12;
    if secret.len() >= TELLING {
        assert!(!shown.to_lowercase().contains(&secret.to_lowercase()), "{shown:?} repeats {secret:?}");
    }
}
