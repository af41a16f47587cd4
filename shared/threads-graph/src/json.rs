//! A JSON body whose text is overwritten when dropped.
//!
//! Owns the liberal reading of single values: Meta writes the same number as a number in one place and as a string in
//! another. Refuses to say what was wrong with a body: a parser's message quotes it.

use serde_json::Value;
use zeroize::Zeroize as _;

/// A JSON object. There is no `Debug`, because it may hold a token.
pub(crate) struct Json(Value);

impl Json {
    /// `None` for anything but a whole JSON object.
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

/// A number from 0 to 2^64 - 1, as a number or as a string of digits.
pub(crate) fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
