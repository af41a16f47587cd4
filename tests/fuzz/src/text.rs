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

/// Asserts that `shown` does not repeat `secret`, if that looks like one: the fuzzer learns our own
/// words, and they are no secret.
pub(crate) fn assert_hides(shown: &str, secret: &str) {
    const TELLING: usize = 12;
    let digits = secret.bytes().filter(u8::is_ascii_digit).count();
    let is_mixed = digits > 0
        && secret.contains(|c: char| c.is_ascii_uppercase())
        && secret.contains(|c: char| c.is_ascii_lowercase());
    if secret.len() >= TELLING && (is_mixed || digits >= 6) {
        assert!(!shown.to_lowercase().contains(&secret.to_lowercase()), "{shown:?} repeats {secret:?}");
    }
}
