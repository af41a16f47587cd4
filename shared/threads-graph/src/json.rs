//! A JSON body whose text is overwritten when dropped.
//!
//! Owns the liberal reading of single values: Meta writes the same number as a number in one place
//! and as a string in another. Refuses to describe the error in a body: a parser's message quotes
//! it.

use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroize as _;

/// A JSON object. There is no `Debug`, because it may hold a token.
pub(crate) struct Json(Value);

impl Json {
    /// Returns `None` for anything except a whole JSON object.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let json = Self(serde_json::from_slice(body).ok()?);
        json.0.is_object().then_some(json)
    }

    pub(crate) fn value(&self) -> &Value {
        &self.0
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        fn overwrite(value: &mut Value) {
            match value {
                Value::String(text) => text.zeroize(),
                Value::Array(items) => items.iter_mut().for_each(overwrite),
                Value::Object(members) => members.values_mut().for_each(overwrite),
                _ => {}
            }
        }
        overwrite(&mut self.0);
    }
}

/// The longest lifetime that a number can mean, in seconds: a hundred years.
const MAX_LIFETIME: f64 = 100.0 * 365.25 * 24.0 * 60.0 * 60.0;

/// A lifetime in whole seconds, from an integer, a float or a text. `None` for an implausible one:
/// absent, less than a second, more than a hundred years, or not a number.
pub(crate) fn lifetime(value: &Value) -> Option<Duration> {
    let seconds: f64 = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (1.0..=MAX_LIFETIME)
        .contains(&seconds)
        .then(|| Duration::try_from_secs_f64(seconds.trunc()).ok())
        .flatten()
}

/// A number from 0 to 2^64 - 1, as a number or as a string of digits.
pub(crate) fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_positive_number_that_can_be_one() {
        for (json, seconds) in [
            ("5183944", Some(5_183_944)),
            ("5184000.0", Some(5_184_000)),
            ("5183944.5", Some(5_183_944)),
            ("5.184e6", Some(5_184_000)),
            ("\"5184000\"", Some(5_184_000)),
            ("\" 5184000.0 \"", Some(5_184_000)),
            ("1", Some(1)),
            ("1.9", Some(1)),
            ("3600", Some(3_600)),
            ("315360000", Some(315_360_000)),
            ("3155760000", Some(3_155_760_000)),
            ("3155760001", None),
            ("5184000000", None),
            ("18446744073709551616", None),
            ("1e30", None),
            ("-1e30", None),
            ("0.5", None),
            ("0", None),
            ("-0.0", None),
            ("-5", None),
            ("null", None),
            ("true", None),
            ("[5184000]", None),
            ("{}", None),
            ("\"\"", None),
            ("\"soon\"", None),
            ("\"nan\"", None),
            ("\"inf\"", None),
            ("\"-5\"", None),
            ("\"1e400\"", None),
            ("\"5184000 seconds\"", None),
            ("\"0x10\"", None),
        ] {
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(lifetime(&value), seconds.map(Duration::from_secs), "{json}");
        }
    }
}
