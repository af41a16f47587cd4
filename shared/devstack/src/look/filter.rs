//! The filter of a list of accounts: a search and a choice, as a form that needs no script.

use std::borrow::Cow;

use maud::{Markup, html};
use threads_auth_model::{Status, Summary};
use url::form_urlencoded;

use crate::look::accounts::Standing;

/// Maximum number of characters of a search that are used. No name has more.
const MAX_SEARCH: usize = 200;

threads_graph::names! {
    /// The accounts to choose from.
    #[derive(Default)]
    pub enum Choice {
        /// Every account.
        #[default]
        All => "all",
        /// Accounts that need attention.
        Trouble => "trouble",
        /// Those with this status.
        Active => "active",
        /// Those with this status.
        Pending => "pending",
        /// Those with this status.
        NeedsReauthorization => "needs_reauthorization",
        /// Those with this status.
        Revoked => "revoked",
    }
}

impl Choice {
    /// Returns the one status that is chosen, if it is one.
    #[must_use]
    pub const fn status(self) -> Option<Status> {
        match self {
            Self::All | Self::Trouble => None,
            Self::Active => Some(Status::Active),
            Self::Pending => Some(Status::Pending),
            Self::NeedsReauthorization => Some(Status::NeedsReauthorization),
            Self::Revoked => Some(Status::Revoked),
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::All => "All accounts",
            Self::Trouble => "With trouble",
            Self::Active => "Active",
            Self::Pending => "Pending",
            Self::NeedsReauthorization => "Needs re-authorization",
            Self::Revoked => "Revoked",
        }
    }
}

/// Returns a parameter of a query.
#[must_use]
pub fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// A search and a choice.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Text in a user id, a username or a reference; empty for any.
    pub search: String,
    /// The choice.
    pub choice: Choice,
}

impl Filter {
    /// Reads a page's query. An invalid value filters nothing.
    #[must_use]
    pub fn of(query: Option<&str>) -> Self {
        let search = parameter(query, "q").unwrap_or_default();
        let search = search.trim().trim_start_matches('@').chars().take(MAX_SEARCH).collect();
        let choice = parameter(query, "show").and_then(|name| name.parse().ok()).unwrap_or_default();
        Self { search, choice }
    }

    /// Returns true if every account matches.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.search.is_empty() && self.choice == Choice::All
    }

    /// Returns true if the account matches.
    #[must_use]
    pub fn takes(&self, account: &Summary, standing: &Standing) -> bool {
        let chosen = match self.choice {
            Choice::Trouble => standing.is_trouble(),
            choice => choice.status().is_none_or(|status| account.status == status),
        };
        chosen && (self.search.is_empty() || self.finds(account))
    }

    fn finds(&self, account: &Summary) -> bool {
        let wanted = self.search.to_lowercase();
        let names =
            [Some(account.user_id.as_str()), account.username.as_deref(), account.reference.as_deref()];
        names.into_iter().flatten().any(|name| name.to_lowercase().contains(&wanted))
    }

    /// Returns the query of a further page of the same list.
    #[must_use]
    pub fn query(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &self.search).append_pair("show", self.choice.as_str());
        format!("?{}", query.append_pair(name, value).finish())
    }

    /// Renders the form, which requests the page at `action`.
    #[must_use]
    pub fn form(&self, action: &str) -> Markup {
        html! {
            form .filter method="get" action=(action) role="search" {
                label {
                    "Search"
                    input type="search" name="q" value=(self.search) maxlength=(MAX_SEARCH) autocapitalize="none"
                        spellcheck="false" placeholder="user id, username, reference";
                }
                label {
                    "Show"
                    select name="show" {
                        @for choice in Choice::ALL {
                            option value=(choice.as_str()) selected[choice == self.choice] { (choice.label()) }
                        }
                    }
                }
                button { "Find" }
                @if !self.is_open() { a .button href=(action) { "Show all" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::accounts::tests::{but, summary};
    use crate::look::time::tests::at;

    #[test]
    fn a_query_that_makes_no_sense_filters_nothing() {
        for query in [None, Some(""), Some("show=nonsense&q=+"), Some("%ff=%ff"), Some("q=%40")] {
            assert_eq!(Filter::of(query), Filter::default(), "{query:?}");
        }
        let filter = Filter::of(Some("q=%20%40Ada%20&show=needs_reauthorization&q=other"));
        assert_eq!((filter.search.as_str(), filter.choice), ("Ada", Choice::NeedsReauthorization));
        assert_eq!(Filter::of(Some(&format!("q={}", "é".repeat(900)))).search.chars().count(), 200);
    }

    #[test]
    fn an_account_is_found_by_each_of_its_names() {
        let account = but(summary("178", Status::Active), |account| {
            account.username = Some("Ada.Lovelace".to_owned());
            account.reference = Some("利用者-حساب-7".to_owned());
        });
        let standing = Standing::of(&account, false, at(0));
        for (search, is_found) in
            [("78", true), ("love", true), ("LOVE", true), ("حساب", true), ("利用", true), ("grace", false)]
        {
            let filter = Filter { search: search.to_owned(), choice: Choice::All };
            assert_eq!(filter.takes(&account, &standing), is_found, "{search}");
        }
    }

    #[test]
    fn a_choice_is_a_status_or_what_needs_a_look() {
        let (well, dead) = (summary("1", Status::Active), summary("2", Status::NeedsReauthorization));
        let failing = but(summary("3", Status::Active), |account| account.failures = 1);
        let ended = summary("4", Status::Revoked);
        for (choice, expected) in [
            (Choice::All, [true; 4]),
            (Choice::Trouble, [false, true, true, false]),
            (Choice::Active, [true, false, true, false]),
            (Choice::NeedsReauthorization, [false, true, false, false]),
            (Choice::Revoked, [false, false, false, true]),
            (Choice::Pending, [false; 4]),
        ] {
            let filter = Filter { search: String::new(), choice };
            let taken = [&well, &dead, &failing, &ended]
                .map(|account| filter.takes(account, &Standing::of(account, false, at(0))));
            assert_eq!(taken, expected, "{choice}");
        }
    }

    #[test]
    fn a_further_page_keeps_the_filter() {
        let filter = Filter { search: "a&b=\"<".to_owned(), choice: Choice::Trouble };
        let query = filter.query("after", "user#1");
        assert_eq!(query, "?q=a%26b%3D%22%3C&show=trouble&after=user%231");
        let query = query.strip_prefix('?');
        assert_eq!(Filter::of(query), filter);
        assert_eq!(parameter(query, "after").as_deref(), Some("user#1"));
    }
}
