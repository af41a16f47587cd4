//! The brand of the app on our pages: its name, its links and its colour.
//! Owns their form: start-up refuses a value that a page could not show. Pages decide the rest.

use std::str::FromStr;

use url::Url;

/// Maximum length of the app's name, in characters.
const MAX_NAME: usize = 60;

/// Maximum length of a link, in bytes. The three of them fit into Lambda's 4 KB of environment.
const MAX_LINK: usize = 100;

/// The app's brand on our pages. All of it is optional.
#[derive(Clone, Debug, Default)]
pub struct Brand {
    /// The app's name.
    pub name: Option<AppName>,
    /// The app's own site.
    pub home: Option<Link>,
    /// The page on which people find help.
    pub support: Option<Link>,
    /// The privacy policy.
    pub privacy: Option<Link>,
    /// The colour of links and buttons.
    pub accent: Option<Rgb>,
}

/// The app's name: one line without characters that would hide or reorder the text beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppName(String);

/// An https URL that a page links to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(String);

/// A colour by the red, green and blue of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

impl FromStr for AppName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Line separators, and marks that change the direction of what follows.
        let is_unfit = |c: char| {
            c.is_control()
                || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        };
        let is_fit = !text.trim().is_empty() && text.chars().count() <= MAX_NAME && !text.contains(is_unfit);
        is_fit.then(|| Self(text.to_owned())).ok_or_else(|| {
            format!(
                "expected a name of at most {MAX_NAME} characters, without control characters and marks of direction"
            )
        })
    }
}

impl AppName {
    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = text.len() <= MAX_LINK
            && text.starts_with("https://")
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&b));
        let url = Url::parse(text).ok().filter(|url| {
            is_plain && url.host().is_some() && url.username().is_empty() && url.password().is_none()
        });
        url.map(|url| Self(url.into())).ok_or_else(|| {
            format!(
                "expected an https URL without user, of at most {MAX_LINK} characters of ASCII, such as https://app.example.com/help"
            )
        })
    }
}

impl Link {
    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Rgb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
            let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
            let [_, rgb @ ..] = number.to_be_bytes();
            Some(Self(rgb))
        };
        read().ok_or_else(|| "expected a colour such as #0a7cff: six hexadecimal digits".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_plain_text() {
        for name in ["Photo Planner", "写真プランナー", "مخطط الصور", "A & B <x>", "👩‍💻", &"é".repeat(60)]
        {
            assert!(name.parse::<AppName>().is_ok(), "{name}");
        }
        for bad in [
            "",
            " ",
            "a\nb",
            "a\tb",
            "a\0",
            "a\u{7f}",
            "a\u{85}",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{200f}",
            "a\u{61c}",
            "\u{feff}a",
            &"é".repeat(61),
        ] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_link_is_an_https_url() {
        for link in ["https://app.example", "https://app.example:8443/a/b?c=d&e=%2F#f", "https://[::1]/"] {
            assert!(link.parse::<Link>().is_ok(), "{link}");
        }
        let too_long = format!("https://app.example/{}", "x".repeat(MAX_LINK));
        for bad in [
            "",
            "app.example",
            "//app.example",
            "http://app.example/",
            "http://localhost/",
            "HTTPS://app.example/",
            "https:app.example",
            "https:///",
            "https://",
            "javascript:alert(1)",
            "https://user@app.example/",
            "https://:secret@app.example/",
            "https://app.example/\"><script>",
            "https://app.example/ x",
            "https://app.example/\u{202e}",
            "https://пример.example/",
            "https://app.example\\@evil.example/",
            "mailto:help@app.example",
            &too_long,
        ] {
            assert!(bad.parse::<Link>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_colour_is_six_hexadecimal_digits() {
        assert_eq!("#0a7Cff".parse(), Ok(Rgb([0x0a, 0x7c, 0xff])));
        for bad in ["", "#", "0a7cff", "#0a7cf", "#0a7cff0", "#0a7cfg", "#+a7cff", "blue", "#fff", "#é7cff"]
        {
            assert!(bad.parse::<Rgb>().is_err(), "{bad}");
        }
    }
}
