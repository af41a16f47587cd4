//! Ids, which become parts of paths.
//!
//! Owns their form. Refuses any other text, so that what came with a browser's address cannot lead
//! a signed request to another route.

/// The text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let is_valid: fn(&str) -> bool = $is_valid;
                if is_valid(&text) { Ok(Self(text)) } else { Err(InvalidId($expected)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id!(
    /// A person's id at Threads for this app: 1 to 32 digits.
    UserId,
    "expected 1 to 32 digits",
    |text| (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
);
id!(
    /// The id of a connect session: 32 letters, digits, `-` and `_`.
    SessionId,
    "expected 32 letters, digits, `-` and `_`",
    |text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leads_to_another_path() {
        for text in ["", "1/token", "..", "1?a", "١", "-1", " 1", &"1".repeat(33)] {
            assert!(text.parse::<UserId>().is_err(), "{text}");
        }
        for text in
            ["", "..", &"a".repeat(31), &"a".repeat(33), &format!("../users/1/token{}", "a".repeat(16))]
        {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
        assert_eq!(&"1".repeat(32), "1".repeat(32).parse::<UserId>().unwrap().as_str());
        assert_eq!(&"aA0-_".repeat(7)[..32], "aA0-_".repeat(7)[..32].parse::<SessionId>().unwrap().as_str());
        assert!(serde_json::from_str::<UserId>("\"1/token\"").is_err());
    }
}
