//! The languages of our pages, and the choice of one of them.
//! Owns no text of a page: `shared/web` does.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// Maximum length of `ui_locales`, in bytes.
const MAX_LOCALES: usize = 128;

threads_graph::names! {
    /// A language of our pages, by its BCP 47 tag.
    pub enum Language {
        /// The default, for people whose language the pages do not have.
        English => "en",
        /// Japanese.
        Japanese => "ja",
        /// Portuguese as in Brazil, for all who read Portuguese.
        Portuguese => "pt-BR",
        /// Spanish.
        Spanish => "es",
        /// Chinese in traditional characters.
        TraditionalChinese => "zh-Hant",
        /// Arabic, from right to left.
        Arabic => "ar",
        /// Korean.
        Korean => "ko",
        /// German.
        German => "de",
        /// French.
        French => "fr",
        /// Indonesian.
        Indonesian => "id",
        /// Thai.
        Thai => "th",
    }
}

impl Language {
    /// Returns the language of a tag such as `pt-PT` or `zh-Hant-HK`, if pages have it.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        let tag = tag.to_ascii_lowercase();
        let mut subtags = tag.split(['-', '_']);
        Some(match subtags.next()? {
            "en" => Self::English,
            "ja" => Self::Japanese,
            "pt" => Self::Portuguese,
            "es" => Self::Spanish,
            // Chinese without script and region is in simplified characters, which many who read
            // the traditional ones do not, and the reverse.
            "zh" => {
                let is_traditional = |subtag| matches!(subtag, "hant" | "tw" | "hk" | "mo");
                let is_simplified = tag.split(['-', '_']).any(|subtag| subtag == "hans");
                (!is_simplified && subtags.any(is_traditional)).then_some(Self::TraditionalChinese)?
            }
            "ar" => Self::Arabic,
            "ko" => Self::Korean,
            "de" => Self::German,
            "fr" => Self::French,
            // Java and Android still send the tag for Indonesian from before 1989.
            "id" | "in" => Self::Indonesian,
            "th" => Self::Thai,
            _ => return None,
        })
    }

    /// Returns the language of an `Accept-Language` header that has the highest quality, and of
    /// equals the first. `*` is English. A language whose quality is 0 or malformed is ignored.
    #[must_use]
    pub fn of_accept_language(header: &str) -> Option<Self> {
        let mut best = (0, None);
        for range in header.split(',') {
            let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
            let language = match tag.trim() {
                "*" => Some(Self::English),
                tag => Self::of_tag(tag),
            };
            let quality = thousandths(parameter.trim());
            if language.is_some() && quality > best.0 {
                best = (quality, language);
            }
        }
        best.1
    }
}

/// Returns a quality such as `q=0.8` in thousandths, and 0 for a malformed one.
fn thousandths(parameter: &str) -> u16 {
    let Some((_, value)) =
        parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
    else {
        return 0;
    };
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let is_plain = fraction.len() <= 3 && [whole, fraction].concat().bytes().all(|b| b.is_ascii_digit());
    let number = format!("{whole}{fraction:0<3}").parse().ok();
    number.filter(|number| is_plain && *number <= 1_000).unwrap_or(0)
}

/// The languages that a person prefers, as in OIDC: BCP 47 tags with spaces between, the preferred
/// one first. Tags of languages that pages do not have are no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UiLocales(String);

/// Error of reading [`UiLocales`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "ui_locales has to be language tags with spaces between, such as `pt-BR pt en`, of at most {MAX_LOCALES} bytes"
)]
pub struct BadUiLocales;

impl FromStr for UiLocales {
    type Err = BadUiLocales;

    fn from_str(text: &str) -> Result<Self, BadUiLocales> {
        let is_possible = |b: u8| b.is_ascii_alphanumeric() || b"-_ ".contains(&b);
        if text.len() <= MAX_LOCALES && text.bytes().all(is_possible) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadUiLocales)
        }
    }
}

impl UiLocales {
    /// Returns the first language of the list that pages have.
    #[must_use]
    pub fn language(&self) -> Option<Language> {
        self.0.split(' ').find_map(Language::of_tag)
    }

    /// Returns the list.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the language of a flow's cookie. A language that only another version has is ignored, so
/// that the flow is not lost.
pub(crate) fn if_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Language>, D::Error> {
    let tag = Option::<String>::deserialize(deserializer)?;
    Ok(tag.and_then(|tag| tag.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_is_found_by_its_own_tag() {
        for language in Language::ALL {
            let tag = language.as_str();
            assert_eq!(Language::of_tag(tag), Some(language));
            assert_eq!(Language::of_tag(&tag.to_uppercase()), Some(language));
            assert_eq!(Language::of_tag(&tag.replace('-', "_")), Some(language));
            assert_eq!(Language::of_accept_language(&format!("xx, {tag};q=0.1")), Some(language));
        }
    }

    #[test]
    fn regions_and_scripts_lead_to_the_language_that_is_read_there() {
        for (tag, expected) in [
            ("en-GB", Some("en")),
            ("ja-JP", Some("ja")),
            ("pt", Some("pt-BR")),
            ("pt-PT", Some("pt-BR")),
            ("es-419", Some("es")),
            ("zh-TW", Some("zh-Hant")),
            ("zh-HK", Some("zh-Hant")),
            ("zh-MO", Some("zh-Hant")),
            ("zh-Hant-CN", Some("zh-Hant")),
            ("zh-Hant-HK", Some("zh-Hant")),
            ("zh", None),
            ("zh-CN", None),
            ("zh-SG", None),
            ("zh-Hans", None),
            ("zh-Hans-HK", None),
            ("ar-EG", Some("ar")),
            ("de-CH-1996", Some("de")),
            ("in-ID", Some("id")),
            ("", None),
            ("-", None),
            ("e", None),
            ("eng", None),
            ("arn", None),
            ("i-klingon", None),
            ("x-en", None),
            ("日本語", None),
        ] {
            assert_eq!(Language::of_tag(tag).map(Language::as_str), expected, "{tag}");
        }
    }

    #[test]
    fn the_highest_quality_wins_and_of_equals_the_first() {
        for (header, expected) in [
            ("", None),
            ("ja", Some("ja")),
            ("ja,en-US;q=0.9,en;q=0.8", Some("ja")),
            ("da, en-gb;q=0.8, en;q=0.7", Some("en")),
            ("en;q=0.7,de;q=0.8", Some("de")),
            ("fr;q=0.5,de;q=0.5", Some("fr")),
            ("fr ; q=0.5 , de ; Q=0.6", Some("de")),
            ("zh-TW,zh;q=0.9,en-US;q=0.8", Some("zh-Hant")),
            ("zh-CN,zh;q=0.9,en;q=0.8", Some("en")),
            ("sv, *;q=0.5", Some("en")),
            ("sv, *;q=0.5, th;q=0.6", Some("th")),
            ("*", Some("en")),
            ("ja;q=0", None),
            ("ja;q=0.000, ko;q=0.001", Some("ko")),
            ("ja;q=1.000, ko", Some("ja")),
            ("ja;q=1.001, ko;q=0.1", Some("ko")),
            ("ja;q=0.1234, ko;q=0.1", Some("ko")),
            ("ja;q=-1, ko;q=0.1", Some("ko")),
            ("ja;q=+1, ko;q=0.1", Some("ko")),
            ("ja;q=, ko;q=0.1", Some("ko")),
            ("ja;level=1, ko;q=0.1", Some("ko")),
            (",,;q=1,;,ar", Some("ar")),
            ("\u{202e}ja", None),
        ] {
            assert_eq!(Language::of_accept_language(header).map(Language::as_str), expected, "{header}");
        }
    }

    #[test]
    fn a_list_gives_its_first_language_that_pages_have() {
        for (list, expected) in [
            ("fr-CA fr en", Some("fr")),
            ("sv  nb ko", Some("ko")),
            ("zh-CN zh-TW", Some("zh-Hant")),
            ("pt_BR", Some("pt-BR")),
            ("", None),
            (" ", None),
            ("tlh", None),
        ] {
            let read: UiLocales = list.parse().unwrap();
            assert_eq!(read.language().map(Language::as_str), expected, "{list}");
        }
        for bad in ["ja,en", "ja;q=1", "\u{202e}ja", "日本語", "ja\n", &"a".repeat(129)] {
            assert_eq!(bad.parse::<UiLocales>(), Err(BadUiLocales), "{bad}");
        }
        assert!("a".repeat(128).parse::<UiLocales>().is_ok());
    }
}
