//! The permissions a person can grant.
//!
//! Owns their names (Meta's and the short ones of `ThreadsPipe`) and the rule that a request always
//! includes `threads_basic`. Meta adds permissions, so an unknown name of the same form is accepted
//! too; a caller may warn about it. Refuses other words, and lists the known ones. A set that Meta
//! *granted* is kept as it is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::redacted;

/// The beginning of every name of Meta's.
const PREFIX: &str = "threads_";

/// Maximum length of an unknown name, in characters.
const MAX_NAME: usize = PREFIX.len() + 48;

/// One permission of the Threads API, by Meta's name.
///
/// ```
/// use threads_graph::Scope;
///
/// assert_eq!("publish".parse(), Ok(Scope::ContentPublish));
/// let new: Scope = "threads_new_permission".parse()?;
/// assert!(!new.is_known() && Scope::ContentPublish < new);
/// # Ok::<(), threads_graph::UnknownScope>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// `threads_basic`: mandatory for every call.
    Basic,
    /// `threads_content_publish`: create and publish posts.
    ContentPublish,
    /// `threads_read_replies`: read the replies to posts.
    ReadReplies,
    /// `threads_manage_replies`: create, hide and control replies.
    ManageReplies,
    /// `threads_manage_insights`: read the figures of posts and of the account.
    ManageInsights,
    /// `threads_keyword_search`: search public posts.
    KeywordSearch,
    /// `threads_manage_mentions`: read posts that mention the person.
    ManageMentions,
    /// `threads_delete`: delete posts.
    Delete,
    /// `threads_location_tagging`: search places and tag posts with them.
    LocationTagging,
    /// `threads_profile_discovery`: look up public profiles.
    ProfileDiscovery,
    /// `threads_share_to_instagram`: share a post to Instagram.
    ShareToInstagram,
    /// Any other that looks like Meta's: `threads_`, and 1 to 48 small letters and underscores.
    Other(OtherScope),
}

/// The name of an unknown scope. Only [`Scope`]'s `FromStr` creates one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherScope {
    /// The name's bytes, and zeros after them, so that the order is that of the names.
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl OtherScope {
    fn new(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let looks_like_one = (1..=MAX_NAME - PREFIX.len()).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        looks_like_one.then(|| {
            let mut bytes = [0; MAX_NAME];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            Self { bytes, length: name.len() }
        })
    }

    /// Meta's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // They were taken from a text.
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Debug for OtherScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Scope {
    /// All that are known, in Meta's order.
    pub const ALL: [Self; 11] = [
        Self::Basic,
        Self::ContentPublish,
        Self::ReadReplies,
        Self::ManageReplies,
        Self::ManageInsights,
        Self::KeywordSearch,
        Self::ManageMentions,
        Self::Delete,
        Self::LocationTagging,
        Self::ProfileDiscovery,
        Self::ShareToInstagram,
    ];

    /// Meta's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Basic => "threads_basic",
            Self::ContentPublish => "threads_content_publish",
            Self::ReadReplies => "threads_read_replies",
            Self::ManageReplies => "threads_manage_replies",
            Self::ManageInsights => "threads_manage_insights",
            Self::KeywordSearch => "threads_keyword_search",
            Self::ManageMentions => "threads_manage_mentions",
            Self::Delete => "threads_delete",
            Self::LocationTagging => "threads_location_tagging",
            Self::ProfileDiscovery => "threads_profile_discovery",
            Self::ShareToInstagram => "threads_share_to_instagram",
            Self::Other(name) => name.as_str(),
        }
    }

    /// The short name: that of `ThreadsPipe` 0.4.5 (`basic`, `publish`, `read_replies`,
    /// `manage_replies`, `insights`) where it has one, and otherwise Meta's without `threads_`. One
    /// that is not known has Meta's name alone.
    #[must_use]
    pub fn short_name(&self) -> &str {
        match self {
            Self::ContentPublish => "publish",
            Self::ManageInsights => "insights",
            Self::Other(name) => name.as_str(),
            known => known.as_str().trim_start_matches(PREFIX),
        }
    }

    /// Returns true if Meta had documented it when this crate was written. If not, it is new, or
    /// misspelt.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| word == scope.as_str() || word == scope.short_name())
            .or_else(|| OtherScope::new(word).map(Self::Other))
            .ok_or_else(|| UnknownScope::new(word))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A word that names no scope. Its text names the word (escaped, at most 40 characters of it) and
/// every valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScope {
    word: String,
}

impl UnknownScope {
    fn new(word: &str) -> Self {
        let word = redacted(word);
        let mut shown: String = word.chars().take(40).flat_map(char::escape_default).collect();
        if word.chars().nth(40).is_some() {
            shown.push_str("...");
        }
        Self { word: shown }
    }

    /// The word, escaped and cut, so that it can be printed anywhere.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }
}

impl fmt::Display for UnknownScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown scope \"{}\": use `all`", self.word)?;
        for scope in Scope::ALL {
            write!(f, ", `{}` or `{}`", scope.short_name(), scope.as_str())?;
        }
        write!(f, ", or another name of Meta's that begins with `{PREFIX}`")
    }
}

impl std::error::Error for UnknownScope {}

/// The reason why words are not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopes {
    /// One of them names no scope.
    #[error(transparent)]
    Unknown(#[from] UnknownScope),
    /// There are more than [`Scopes::MAX`].
    #[error("more than {} scopes", Scopes::MAX)]
    TooMany,
}

/// A set of at most [`Scopes::MAX`] scopes: the known ones in Meta's order, and then the others in
/// that of the alphabet.
///
/// Parsed from text, or made with [`Scopes::requested`], it is a *request* and always includes
/// [`Scope::Basic`]. Collected from an iterator it keeps exactly the given scopes, up to the limit:
/// those that were *granted*.
///
/// ```
/// use threads_graph::{Scope, Scopes};
///
/// let asked: Scopes = "publish, threads_delete".parse()?;
/// assert_eq!(asked.to_string(), "threads_basic,threads_content_publish,threads_delete");
///
/// let granted: Scopes = [Scope::Delete].into_iter().collect();
/// assert!(!granted.is_superset(&asked));
/// # Ok::<(), threads_graph::InvalidScopes>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Maximum number of scopes in one set.
    pub const MAX: usize = 32;

    /// The given scopes and [`Scope::Basic`], which Meta requires in every request.
    pub fn requested(scopes: impl IntoIterator<Item = Scope>) -> Self {
        scopes.into_iter().chain([Scope::Basic]).collect()
    }

    /// As [`requested`](Self::requested), for another party's request.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidScopes::TooMany`] if there are more than [`Scopes::MAX`], [`Scope::Basic`]
    /// included.
    pub fn try_requested(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, InvalidScopes> {
        let scopes: BTreeSet<_> = scopes.into_iter().chain([Scope::Basic]).collect();
        if scopes.len() > Self::MAX { Err(InvalidScopes::TooMany) } else { Ok(Self(scopes)) }
    }

    /// Every scope that is known.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// The scopes, in Meta's order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// Returns true if the set holds this one.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Those that are not [known](Scope::is_known): new, or misspelt.
    pub fn unknown(&self) -> impl Iterator<Item = Scope> + '_ {
        self.iter().filter(|scope| !scope.is_known())
    }

    /// Returns true if the set holds all of `other`.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Returns true if the set is empty, as after a person has taken back every permission.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of scopes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Just [`Scope::Basic`].
impl Default for Scopes {
    fn default() -> Self {
        Self::requested([])
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let all: BTreeSet<_> = scopes.into_iter().collect();
        Self(all.into_iter().take(Self::MAX).collect())
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        scopes.into_iter().collect()
    }
}

impl IntoIterator for Scopes {
    type Item = Scope;
    type IntoIter = std::collections::btree_set::IntoIter<Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Words separated by commas, white space or both; `all` means all known scopes; [`Scope::Basic`]
/// is always included.
impl FromStr for Scopes {
    type Err = InvalidScopes;

    fn from_str(words: &str) -> Result<Self, InvalidScopes> {
        let mut scopes = BTreeSet::new();
        for word in words.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
            if word == "all" {
                scopes.extend(Scope::ALL);
            } else {
                scopes.insert(word.parse()?);
            }
        }
        Self::try_requested(scopes)
    }
}

/// Meta's names, comma separated: the value of the `scope` parameter.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_read_by_its_full_and_its_short_name() {
        let names: Vec<_> = Scope::ALL.iter().map(|scope| (scope.short_name(), scope.as_str())).collect();
        assert_eq!(
            names,
            [
                ("basic", "threads_basic"),
                ("publish", "threads_content_publish"),
                ("read_replies", "threads_read_replies"),
                ("manage_replies", "threads_manage_replies"),
                ("insights", "threads_manage_insights"),
                ("keyword_search", "threads_keyword_search"),
                ("manage_mentions", "threads_manage_mentions"),
                ("delete", "threads_delete"),
                ("location_tagging", "threads_location_tagging"),
                ("profile_discovery", "threads_profile_discovery"),
                ("share_to_instagram", "threads_share_to_instagram"),
            ]
        );
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(scope.short_name().parse(), Ok(scope));
            let json = serde_json::to_string(&scope).unwrap();
            assert_eq!(json, format!("\"{scope}\""));
            assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
            assert!(scope.is_known());
        }
        assert!(Scope::ALL.is_sorted());
    }

    /// Meta's name for the `n`th unknown scope.
    fn nth(n: u8) -> String {
        format!("threads_{}", char::from(b'a' + n / 26)) + &char::from(b'a' + n % 26).to_string()
    }

    #[test]
    fn a_name_that_looks_like_metas_is_taken_and_known_to_be_new() {
        let longest = format!("threads_{}", "x".repeat(48));
        for name in ["threads_new_permission", "threads_a", "threads__", "threads_basics", &longest] {
            let scope: Scope = name.parse().unwrap();
            assert_eq!((scope.as_str(), scope.short_name(), scope.is_known()), (name, name, false));
            assert_eq!(format!("{scope} {scope:?}"), format!("{name} Other({name})"));
            let json = serde_json::to_string(&scope).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<Scope>(&json).unwrap(), scope);
        }
        let asked: Scopes = "threads_new_z,publish threads_new,threads_new_a".parse().unwrap();
        assert_eq!(
            asked.to_string(),
            "threads_basic,threads_content_publish,threads_new,threads_new_a,threads_new_z"
        );
        let unknown: Vec<String> = asked.unknown().map(|scope| scope.to_string()).collect();
        assert_eq!(unknown, ["threads_new", "threads_new_a", "threads_new_z"]);
        assert_eq!(Scopes::all().unknown().count(), 0);
    }

    #[test]
    fn no_other_word_is_taken() {
        let too_long = format!("threads_{}", "x".repeat(49));
        for word in [
            "",
            "threads_",
            "threads",
            "new_permission",
            "Threads_new",
            "threads_New",
            "threads_new2",
            "threads-new",
            "threads_new-thing",
            " threads_new",
            "threads_new\n",
            "threads_é",
            "threads_a&scope=b",
            "threads_<b>",
            "instagram_basic",
            "xthreads_new",
            &too_long,
        ] {
            assert!(word.parse::<Scope>().is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_set_has_at_most_thirty_two() {
        let names = |count: u8| (0..count).map(nth).collect::<Vec<_>>();
        let text = names(31).join(",");
        assert_eq!(text.parse::<Scopes>().unwrap().len(), 32);
        assert_eq!(format!("basic,{text},{text}").parse::<Scopes>().unwrap().len(), 32);
        assert_eq!(names(32).join(" ").parse::<Scopes>(), Err(InvalidScopes::TooMany));
        assert_eq!(format!("all,{}", names(22).join(",")).parse::<Scopes>(), Err(InvalidScopes::TooMany));
        assert_eq!(InvalidScopes::TooMany.to_string(), "more than 32 scopes");
        // A set of Meta's, or of a row, is cut: the known ones stay.
        let granted: Scopes = names(200).iter().map(|name| name.parse().unwrap()).chain(Scope::ALL).collect();
        assert_eq!(granted.len(), 32);
        assert!(granted.is_superset(&Scopes::all()));
        let json = serde_json::to_string(&names(200)).unwrap();
        assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap().len(), 32);
    }

    #[test]
    fn text_is_split_at_commas_and_white_space_and_always_includes_basic() {
        for (text, expected) in [
            ("", "threads_basic"),
            (" ,, ", "threads_basic"),
            ("basic", "threads_basic"),
            ("publish", "threads_basic,threads_content_publish"),
            (
                "threads_delete,publish\tpublish\n threads_basic",
                "threads_basic,threads_content_publish,threads_delete",
            ),
            ("insights read_replies", "threads_basic,threads_read_replies,threads_manage_insights"),
        ] {
            assert_eq!(text.parse::<Scopes>().unwrap().to_string(), expected, "{text:?}");
        }
        let all: Scopes = "all".parse().unwrap();
        assert_eq!(all, Scopes::all());
        assert_eq!((all.len(), all.iter().next()), (11, Some(Scope::Basic)));
        assert_eq!(Scopes::default().to_string(), "threads_basic");
        assert!(Scopes::requested([Scope::Delete]).contains(Scope::Basic));
    }

    #[test]
    fn an_unknown_word_is_named_harmlessly_with_all_valid_ones() {
        let long = "x".repeat(1000);
        for (text, shown) in [
            ("basic,publsih", "publsih"),
            ("Basic", "Basic"),
            ("<script>\u{1b}[31m", "<script>\\u{1b}[31m"),
            ("threads_", "threads_"),
            ("TH|123|5ecret", "unknown scope \"TH|(redacted)\""),
            (long.as_str(), "x...\""),
        ] {
            let message = text.parse::<Scopes>().unwrap_err().to_string();
            assert!(message.contains(shown), "{message}");
            assert!(message.is_ascii() && !message.contains('\u{1b}') && message.len() < 1000, "{message}");
            for scope in Scope::ALL {
                assert!(message.contains(&format!("`{}` or `{scope}`", scope.short_name())), "{message}");
            }
        }
    }

    #[test]
    fn what_was_granted_is_kept_exactly() {
        let granted: Scopes = [Scope::Delete, Scope::Delete].into_iter().collect();
        assert_eq!(granted.to_string(), "threads_delete");
        assert_eq!(serde_json::to_string(&granted).unwrap(), r#"["threads_delete"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(r#"["threads_delete"]"#).unwrap(), granted);
        assert!(Scopes::all().is_superset(&granted) && !granted.is_superset(&Scopes::default()));
        assert!([].into_iter().collect::<Scopes>().is_empty());
    }
}
