//! The permissions a person can grant.
//!
//! Owns their names (Meta's and the short ones of `ThreadsPipe`) and the rule that a request always includes
//! `threads_basic`. Refuses unknown words, and says which ones it knows. What Meta *granted* is kept as it is.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names;

names! {
    /// One permission of the Threads API, by Meta's name.
    pub enum Scope without FromStr {
        /// Mandatory for every call.
        Basic => "threads_basic",
        /// Create and publish posts.
        ContentPublish => "threads_content_publish",
        /// Read the replies to posts.
        ReadReplies => "threads_read_replies",
        /// Create, hide and control replies.
        ManageReplies => "threads_manage_replies",
        /// Read the figures of posts and of the account.
        ManageInsights => "threads_manage_insights",
        /// Search public posts.
        KeywordSearch => "threads_keyword_search",
        /// Read posts that mention the person.
        ManageMentions => "threads_manage_mentions",
        /// Delete posts.
        Delete => "threads_delete",
        /// Search places and tag posts with them.
        LocationTagging => "threads_location_tagging",
        /// Look up public profiles.
        ProfileDiscovery => "threads_profile_discovery",
        /// Share a post to Instagram.
        ShareToInstagram => "threads_share_to_instagram",
    }
}

impl Scope {
    /// The short name: that of `ThreadsPipe` 0.4.5 (`basic`, `publish`, `read_replies`, `manage_replies`, `insights`)
    /// where it has one, and otherwise Meta's without `threads_`.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::ContentPublish => "publish",
            Self::ManageInsights => "insights",
            other => other.as_str().trim_start_matches("threads_"),
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| word == scope.as_str() || word == scope.short_name())
            .ok_or_else(|| UnknownScope::new(word))
    }
}

/// A word that names no scope. Its text names the word (escaped, at most 40 characters of it) and every valid one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScope {
    word: String,
}

impl UnknownScope {
    fn new(word: &str) -> Self {
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
        Ok(())
    }
}

impl std::error::Error for UnknownScope {}

/// A set of scopes, in Meta's order.
///
/// Parsed from text, or made with [`Scopes::requested`], it is something to *ask for* and always includes
/// [`Scope::Basic`]. Collected from an iterator it keeps exactly what is given: what was *granted*.
///
/// ```
/// use threads_graph::{Scope, Scopes};
///
/// let asked: Scopes = "publish, threads_delete".parse()?;
/// assert_eq!(asked.to_string(), "threads_basic,threads_content_publish,threads_delete");
///
/// let granted: Scopes = [Scope::Delete].into_iter().collect();
/// assert!(!granted.is_superset(&asked));
/// # Ok::<(), threads_graph::UnknownScope>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// The given scopes and [`Scope::Basic`], which Meta requires in every request.
    pub fn requested(scopes: impl IntoIterator<Item = Scope>) -> Self {
        scopes.into_iter().chain([Scope::Basic]).collect()
    }

    /// Every scope there is.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// The scopes, in Meta's order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// Whether it holds this one.
    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether it holds all of `other`.
    #[must_use]
    pub fn is_superset(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// Whether it holds nothing, as a grant whose permissions were all taken back does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many it holds.
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
        Self(scopes.into_iter().collect())
    }
}

impl IntoIterator for Scopes {
    type Item = Scope;
    type IntoIter = std::collections::btree_set::IntoIter<Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Words separated by commas, white space or both; `all` stands for all of them; [`Scope::Basic`] is always included.
impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(words: &str) -> Result<Self, UnknownScope> {
        let mut scopes = Self::default();
        for word in words.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty()) {
            if word == "all" {
                scopes.0.extend(Scope::ALL);
            } else {
                scopes.0.insert(word.parse()?);
            }
        }
        Ok(scopes)
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
        }
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
            (long.as_str(), "x...\""),
        ] {
            let message = text.parse::<Scopes>().unwrap_err().to_string();
            assert!(message.contains(shown), "{message}");
            assert!(message.is_ascii() && !message.contains('\u{1b}') && message.len() < 900, "{message}");
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
