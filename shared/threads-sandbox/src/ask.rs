//! The authorize dialog's request: its checks, and its refusals.

use axum::http::StatusCode;
use serde_json::json;
use url::Url;

use crate::app::App;
use crate::doors;
use crate::params::Params;
use crate::reply::Reply;
use crate::world::BASIC_SCOPE;

/// The consent page's words for a scope that Meta has added since.
const NEW_SCOPE: &str = "Use something that is new at Threads";

/// Every scope that Meta documents, and the consent page's words for it.
const SCOPES: [(&str, &str); 11] = [
    (BASIC_SCOPE, "See your profile and your posts"),
    ("threads_content_publish", "Publish posts for you"),
    ("threads_read_replies", "Read replies to your posts"),
    ("threads_manage_replies", "Reply for you, and hide replies"),
    ("threads_manage_insights", "See how your posts perform"),
    ("threads_keyword_search", "Search posts by keyword"),
    ("threads_manage_mentions", "See posts that mention you"),
    ("threads_delete", "Delete your posts"),
    ("threads_location_tagging", "Search locations and tag them"),
    ("threads_profile_discovery", "See other people's public profiles"),
    ("threads_share_to_instagram", "Share your posts to Instagram"),
];

/// A request that passed every check.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// The requested names with their meanings, each once.
    pub(crate) scopes: Vec<(String, &'static str)>,
    pub(crate) state: Option<String>,
}

/// A failure that the person sees as JSON on Meta's own page. The app never learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoAppId,
    WrongAppId,
    HttpRedirect,
    RedirectNotListed,
    TesterPending,
    ResponseType,
    UnknownScope,
    NoBasicScope,
    NoSuchAccount,
    BadUsername,
    NoAction,
}

impl Refusal {
    /// Meta's code, 100 for an undocumented case, or 0 for a case that only the sandbox has.
    const fn parts(self) -> (u64, &'static str) {
        match self {
            Self::NoAppId => (4_476_002, "No app ID was provided in the request."),
            Self::WrongAppId => (
                1_349_026,
                "Invalid app ID. It may be the Meta app ID: use the Threads app ID of the use case's settings.",
            ),
            Self::HttpRedirect => (
                1_349_187,
                "Insecure login blocked: the redirect URI has to use https. (The sandbox lets http pass on loopback.)",
            ),
            Self::RedirectNotListed => (
                1_349_168,
                "Blocked URL: the redirect failed because the redirect URI is not whitelisted in the app's client \
                 OAuth settings.",
            ),
            Self::TesterPending => (1_349_245, "The user has not accepted the invitation to test the app."),
            Self::ResponseType => (100, "Invalid parameter: response_type must be code."),
            Self::UnknownScope => (100, "Invalid scopes: at least one is unknown."),
            Self::NoBasicScope => (100, "Invalid scopes: threads_basic is needed with any other."),
            Self::NoSuchAccount => (0, "Sandbox: there is no account with this user_id."),
            Self::BadUsername => {
                (0, "Sandbox: a username has 1 to 30 letters, digits, dots and underscores.")
            }
            Self::NoAction => (0, "Sandbox: action must be allow or deny."),
        }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let (code, message) = refusal.parts();
        Self::json(StatusCode::BAD_REQUEST, &json!({ "error_message": message, "error_code": code }))
    }
}

impl Ask {
    pub(crate) fn read(app: &App, params: &Params) -> Result<Self, Refusal> {
        let client_id = params.text("client_id");
        if client_id != app.id {
            // Meta recognizes its own ids by their form; a text that is not a number counts as no
            // id.
            let looks_like_an_id = !client_id.is_empty() && client_id.bytes().all(|b| b.is_ascii_digit());
            return Err(if looks_like_an_id { Refusal::WrongAppId } else { Refusal::NoAppId });
        }
        let redirect_uri = params.text("redirect_uri");
        check_redirect(redirect_uri, &app.redirect_uris)?;
        Ok(Self {
            client_id: client_id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            scopes: read_scopes(params.text("scope"))?,
            state: params.get("state").map(str::to_owned),
        })
    }

    pub(crate) fn scope(&self) -> String {
        self.scopes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// The text is compared and sent unchanged, so it must be valid in a header.
fn check_redirect(redirect_uri: &str, listed: &[String]) -> Result<(), Refusal> {
    let printable = redirect_uri.bytes().all(|b| b.is_ascii_graphic());
    let Some(url) = Url::parse(redirect_uri).ok().filter(|_| printable) else {
        return Err(Refusal::RedirectNotListed);
    };
    match url.scheme() {
        "https" => {}
        "http" if url.host_str().is_some_and(doors::is_loopback) => {}
        "http" => return Err(Refusal::HttpRedirect),
        _ => return Err(Refusal::RedirectNotListed),
    }
    if url.fragment().is_some() || !(listed.is_empty() || listed.iter().any(|uri| uri == redirect_uri)) {
        return Err(Refusal::RedirectNotListed);
    }
    Ok(())
}

/// The permissions, each with its meaning. Meta adds some from time to time, so a name of Meta's
/// form is accepted.
fn read_scopes(scope: &str) -> Result<Vec<(String, &'static str)>, Refusal> {
    let mut scopes = Vec::<(String, &'static str)>::new();
    for asked in scope.split([',', ' ']).filter(|asked| !asked.is_empty()) {
        let known = SCOPES.into_iter().find(|(name, _)| *name == asked).map(|(_, allows)| allows);
        let allows = known.or_else(|| looks_like_metas(asked).then_some(NEW_SCOPE));
        let allows = allows.ok_or(Refusal::UnknownScope)?;
        if !scopes.iter().any(|(name, _)| name == asked) {
            scopes.push((asked.to_owned(), allows));
        }
    }
    if scopes.iter().any(|(name, _)| name == BASIC_SCOPE) { Ok(scopes) } else { Err(Refusal::NoBasicScope) }
}

fn looks_like_metas(scope: &str) -> bool {
    scope.strip_prefix("threads_").is_some_and(|rest| {
        (1..=48).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_uris_are_compared_to_the_letter() {
        let listed = ["https://app.example/callback".to_owned()];
        assert_eq!(check_redirect("https://app.example/callback", &listed), Ok(()));
        for other in [
            "https://app.example/callback/",
            "https://app.example/callback?x=1",
            "https://APP.example/callback",
            "https://app.example:443/callback",
        ] {
            assert_eq!(check_redirect(other, &listed), Err(Refusal::RedirectNotListed), "{other}");
        }
    }

    #[test]
    fn without_a_list_only_safe_addresses_pass() {
        for fine in
            ["https://a.example", "https://127.0.0.1:8080/", "http://localhost:3000/cb", "http://[::1]/"]
        {
            assert_eq!(check_redirect(fine, &[]), Ok(()), "{fine}");
        }
        assert_eq!(check_redirect("http://a.example/", &[]), Err(Refusal::HttpRedirect));
        for bad in [
            "",
            "/callback",
            "javascript:alert(1)",
            "myapp://callback",
            "https://a.example/#x",
            "https://a.example/\r\nx: y",
            "https://a.example/é",
        ] {
            assert_eq!(check_redirect(bad, &[]), Err(Refusal::RedirectNotListed), "{bad:?}");
        }
    }

    #[test]
    fn scopes_need_threads_basic_and_may_not_be_unknown() {
        let both = || vec!["threads_basic".to_owned(), "threads_delete".to_owned()];
        let names =
            |scope| read_scopes(scope).map(|found| found.into_iter().map(|(n, _)| n).collect::<Vec<_>>());
        assert_eq!(names("threads_basic,threads_delete,threads_basic"), Ok(both()));
        assert_eq!(names("threads_basic threads_delete"), Ok(both()));
        assert_eq!(names(""), Err(Refusal::NoBasicScope));
        assert_eq!(names("threads_delete"), Err(Refusal::NoBasicScope));
        assert_eq!(names("threads_basic,basic"), Err(Refusal::UnknownScope));
        assert_eq!(names("threads_basic,threads_new2"), Err(Refusal::UnknownScope));
        // Meta has added six since its first five.
        let new = "threads_basic,threads_new_permission";
        assert_eq!(names(new), Ok(vec!["threads_basic".to_owned(), "threads_new_permission".to_owned()]));
    }
}
