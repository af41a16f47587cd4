//! The switches: Meta's behaviour where it is undocumented, or differs from the documentation.
//!
//! They hold for every account and are saved with the rest. The default is the documented
//! behaviour, or the likeliest where Meta documents none.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_variant::to_variant_name;

use crate::bad_hours::{BadAnswer, BadHours};

/// All of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Switches {
    pub(crate) old_token: OldToken,
    pub(crate) inspection: Inspection,
    pub(crate) expires_in: ExpiresIn,
    pub(crate) redirect: RedirectEnding,
    pub(crate) exchange: ExchangeAnswer,
    pub(crate) bad_hours: Vec<BadHours>,
}

impl Switches {
    /// The answer to every call at `now`, if these are bad hours: of several, those that were added
    /// first.
    pub(crate) fn bad_answer(&self, now: Timestamp) -> Option<BadAnswer> {
        self.bad_hours.iter().find(|hours| hours.contain(now)).map(|hours| hours.answer)
    }
}

/// Names for the variants of a switch, in the order in which people are told them.
macro_rules! named_variants {
    ($switch:ident: $($variant:ident),+) => {
        impl $switch {
            /// All of them, the kindest first.
            pub const ALL: [Self; [$(stringify!($variant)),+].len()] = [$(Self::$variant),+];

            /// The name that the control endpoint uses.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                name(&self)
            }
        }

        impl FromStr for $switch {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                named(&Self::ALL, text)
            }
        }
    };
}

/// The effect of a refresh on the token that it is given. Meta documents none of the three, so a
/// client has to survive all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldToken {
    /// The answer carries the same token, which now lives longer.
    SameTokenExtended,
    /// The answer carries a new token; the old one works until its own end.
    #[default]
    NewTokenOldAlive,
    /// The answer carries a new token; the old one is dead at once (190, subcode 467).
    NewTokenOldDead,
}

/// The callers of `debug_token`, by the token that they present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inspection {
    /// A tester's, as Meta documents, and the app token, as people report.
    #[default]
    TestersAndApp,
    /// Also any live one, for tokens of the same person.
    Anybody,
    /// A tester's only.
    Testers,
    /// The app token only: people report it of apps in development mode. Persons' tokens get code
    /// 100.
    App,
    /// Nobody's.
    Nobody,
}

named_variants!(Inspection: Anybody, TestersAndApp, Testers, App, Nobody);

/// The form in which responses report a long-lived token's life. The token's life is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiresIn {
    /// In seconds, as a whole number.
    #[default]
    Documented,
    /// Not at all.
    Missing,
    /// `null`.
    Null,
    /// `0`.
    Zero,
    /// `-5`.
    Negative,
    /// The seconds as `5183944.0`.
    Float,
    /// The seconds and a half.
    Fraction,
    /// The seconds as `"5183944"`.
    Text,
    /// `"soon"`.
    Word,
    /// In milliseconds.
    Milliseconds,
    /// `315360000`, ten years.
    TenYears,
    /// `1e30`.
    Huge,
    /// The rest of the life of the token that was given, in seconds.
    Remaining,
}

impl ExpiresIn {
    /// The field's value for a token that `lives` so long, given for one that had `remaining` left;
    /// `None` for no field.
    pub(crate) fn value(self, lives: Duration, remaining: Duration) -> Option<Value> {
        let seconds = lives.as_secs();
        Some(match self {
            Self::Documented => seconds.into(),
            Self::Missing => return None,
            Self::Null => Value::Null,
            Self::Zero => 0.into(),
            Self::Negative => (-5).into(),
            Self::Float => Duration::from_secs(seconds).as_secs_f64().into(),
            Self::Fraction => (Duration::from_secs(seconds).as_secs_f64() + 0.5).into(),
            Self::Text => seconds.to_string().into(),
            Self::Word => "soon".into(),
            Self::Milliseconds => (seconds * 1000).into(),
            Self::TenYears => 315_360_000.into(),
            Self::Huge => 1e30.into(),
            Self::Remaining => remaining.as_secs().into(),
        })
    }
}

/// The end of the address to which a person who pressed Allow is sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectEnding {
    /// `#_`, which no server receives.
    #[default]
    Fragment,
    /// `%23_`: the state, or a code without one, seems to end with `#_`.
    Encoded,
    /// `%23_%3D_`: the same with `#_=_`.
    EncodedLong,
}

impl RedirectEnding {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Fragment => "#_",
            Self::Encoded => "%23_",
            Self::EncodedLong => "%23_%3D_",
        }
    }
}

/// The answer to the exchange of a code. The code is spent in any case but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeAnswer {
    /// The token and the user id.
    #[default]
    Documented,
    /// The token alone.
    WithoutUserId,
    /// The token, and 0 for the user id.
    ZeroUserId,
    /// Both, and `token_type`, which Meta omits and strict libraries require.
    WithTokenType,
    /// Both in `{"data":[…]}`, with the permissions, as Instagram's sibling API answers.
    Wrapped,
    /// 400, "Insufficient developer role": the person is not a tester of an unpublished app.
    InsufficientRole,
}

named_variants!(
    ExchangeAnswer: Documented, WithTokenType, WithoutUserId, ZeroUserId, Wrapped, InsufficientRole
);

/// The variant of that name.
fn named<T: Copy + Serialize>(all: &[T], text: &str) -> Result<T, String> {
    let found = all.iter().copied().find(|variant| name(variant) == text);
    found.ok_or_else(|| format!("expected one of {}", all.iter().map(name).collect::<Vec<_>>().join(", ")))
}

/// The name of a variant, for people.
pub(crate) fn name<T: Serialize>(variant: &T) -> &'static str {
    // Fails only for a value that is not a variant of an enum.
    to_variant_name(variant).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_variants_are_read_back() {
        for inspection in Inspection::ALL {
            assert_eq!(inspection.as_str().parse(), Ok(inspection));
        }
        for answer in ExchangeAnswer::ALL {
            assert_eq!(answer.as_str().parse(), Ok(answer));
        }
        let error = "everybody".parse::<Inspection>().unwrap_err();
        assert_eq!(error, "expected one of anybody, testers_and_app, testers, app, nobody");
    }
}
