//! The state of a connect flow: a random `state` at Meta, and a sealed cookie in the browser that
//! started it.
//! Owns the binding of a callback to a browser (login CSRF) and to a time. Each flow has its own
//! cookie, named after its state, so concurrent tabs do not interfere. Nothing is stored on the
//! server: junk requests cost no write.

use std::cmp::Reverse;
use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use cookie::{Cookie, SameSite};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use threads_auth_model::seal::{Context, Keyring, Purpose, SealError};
use threads_graph::{AppId, Scopes, State, UserId};

use crate::language::{self, Language};

/// Time that a person may take at Meta, in seconds.
pub(crate) const LIFETIME_SECONDS: i64 = 600;

/// The most by which the clock of another function may be ahead when it begins a flow, in seconds.
/// AWS refuses a function whose clock is further off.
const MAX_SKEW_SECONDS: i64 = 300;

/// Lifetime of the cookie, in seconds: an hour longer than the flow, so that a late callback can be
/// led back to the app. By then the cookie allows nothing else.
const COOKIE_SECONDS: i64 = LIFETIME_SECONDS + 3_600;

/// Maximum number of open flows of one browser. Their cookies must fit, with all other headers,
/// into API Gateway's limit of 10,240 bytes.
const MAX_OPEN: usize = 5;

/// Maximum size of these cookies together, in bytes. The rest holds the request line with a code,
/// and the browser's own headers.
const MAX_BYTES: usize = 7_000;

/// The sealed content of the cookie that the browser keeps while the person is at Meta.
#[derive(Clone, Serialize, Deserialize)]
pub struct Flow {
    /// The `state` that was sent to Meta.
    #[serde(rename = "s")]
    pub state: State,
    /// Start of the flow, which expires ten minutes later.
    #[serde(rename = "b", with = "jiff::fmt::serde::timestamp::second::required")]
    pub began_at: Timestamp,
    /// Milliseconds of `began_at`: a backend may disconnect an account and reconnect it within one
    /// second. Cookies of older versions have none.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    milliseconds: i32,
    /// The requested scopes.
    #[serde(rename = "c")]
    pub scopes: Scopes,
    /// The app's return address. It is checked against the allowlist again at the end.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    /// The connect session that this flow belongs to.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The only account that the flow may connect.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The language of the flow's pages, if its session or its link has asked for one.
    #[serde(
        rename = "l",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "language::if_known"
    )]
    pub language: Option<Language>,
    /// True if this browser was shown an end of the flow, genuine or not. The flow can still be
    /// finished, but a callback without a state more likely belongs to another flow.
    #[serde(rename = "t", default, skip_serializing_if = "is_false")]
    pub is_end_shown: bool,
}

/// Omits the state: a reader of a log could use it to answer in the person's place.
impl fmt::Debug for Flow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Flow")
            .field("began_at", &self.began_at)
            .field("session_id", &self.session_id)
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// Error of [`Flow::resume`].
#[derive(Debug)]
pub enum ResumeError {
    /// No valid cookie for this state.
    WrongBrowser,
    /// The cookie for this state names a key that the keyring does not hold.
    UnknownKey,
    /// The flow has expired.
    Expired(Box<Flow>),
}

/// The two kinds of the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieKind {
    /// With `__Host-` and `Secure`: the browser binds it to the host.
    Host,
    /// Without both, for plain http on loopback, where browsers refuse the other kind.
    Loopback,
}

impl CookieKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Host => "__Host-threads-auth-",
            Self::Loopback => "threads-auth-",
        }
    }

    fn name(self, state: &State) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, state.as_str().as_bytes());
        let short = BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..6]);
        format!("{}{short}", self.prefix())
    }

    fn cookie(self, name: String, value: String, max_age_seconds: i64) -> String {
        Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(self == Self::Host)
            // With Strict the browser would omit the cookie on Meta's redirect, which is a
            // cross-site navigation.
            .same_site(SameSite::Lax)
            .max_age(cookie::time::Duration::seconds(max_age_seconds))
            .to_string()
    }
}

impl Flow {
    /// Begins a flow with a fresh state of 32 random bytes.
    ///
    /// # Errors
    /// Returns [`SealError::NoRandomness`] if the system's random generator fails.
    pub fn begin(scopes: Scopes, now: Timestamp) -> Result<Self, SealError> {
        let state = State::random().map_err(|_| SealError::NoRandomness)?;
        let milliseconds = now.subsec_millisecond();
        let began_at = now;
        Ok(Self {
            state,
            began_at,
            milliseconds,
            scopes,
            return_to: None,
            session_id: None,
            user_id: None,
            language: None,
            is_end_shown: false,
        })
    }

    /// Returns the `Set-Cookie` headers that start this flow: its own cookie, and the removal of
    /// others if too many are open. Invalid cookies are removed first, then the expired, then the
    /// oldest.
    ///
    /// # Errors
    /// Returns [`SealError`] if sealing fails.
    pub fn set_cookies(
        &self,
        kind: CookieKind,
        keyring: &Keyring,
        app_id: &AppId,
        cookies: &[&str],
    ) -> Result<Vec<String>, SealError> {
        let sealed = self.sealed(keyring, app_id)?;
        let mut open: Vec<_> = ours(kind, cookies)
            .map(|(name, value)| {
                let flow = unseal(keyring, app_id, value).ok();
                let rank = flow.map(|flow| (flow.is_alive(self.began_at), flow.began_at));
                (Reverse(rank), name, value.len())
            })
            .collect();
        open.sort_unstable();
        let name = kind.name(&self.state);
        let length = |name: &str, value: usize| name.len() + "=; ".len() + value;
        let mut together = length(&name, sealed.len());
        let surplus = open.iter().enumerate().filter(|(before, (_, name, value))| {
            together += length(name, *value);
            before + 1 >= MAX_OPEN || together > MAX_BYTES
        });
        let mut headers: Vec<_> =
            surplus.map(|(_, (_, name, _))| kind.cookie((*name).to_owned(), String::new(), 0)).collect();
        headers.push(kind.cookie(name, sealed, COOKIE_SECONDS));
        Ok(headers)
    }

    /// Marks the flow as one whose end was shown, and returns the `Set-Cookie` header that keeps
    /// the mark.
    ///
    /// # Errors
    /// Returns [`SealError`] if sealing fails.
    pub fn show_end(
        &mut self,
        kind: CookieKind,
        keyring: &Keyring,
        app_id: &AppId,
        now: Timestamp,
    ) -> Result<String, SealError> {
        self.is_end_shown = true;
        let age = now.as_second().saturating_sub(self.began_at.as_second());
        let sealed = self.sealed(keyring, app_id)?;
        Ok(kind.cookie(kind.name(&self.state), sealed, COOKIE_SECONDS.saturating_sub(age).max(0)))
    }

    fn sealed(&self, keyring: &Keyring, app_id: &AppId) -> Result<String, SealError> {
        let json = serde_json::to_vec(self).map_err(|_| SealError::Malformed)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(keyring.seal(&context(app_id), &json)?))
    }

    /// Returns the flow of this browser to which `state` belongs.
    ///
    /// # Errors
    /// - Returns `ResumeError::WrongBrowser` if no valid cookie belongs to the state.
    /// - Returns `ResumeError::UnknownKey` if one may, but its key is not in the keyring.
    /// - Returns `ResumeError::Expired` if the flow has expired.
    pub fn resume(
        kind: CookieKind,
        keyring: &Keyring,
        app_id: &AppId,
        cookies: &[&str],
        state: &State,
        now: Timestamp,
    ) -> Result<Self, ResumeError> {
        let name = kind.name(state);
        let mut refused = ResumeError::WrongBrowser;
        let flow = ours(kind, cookies)
            .filter(|(candidate, _)| *candidate == name)
            .find_map(|(_, value)| {
                let flow = unseal(keyring, app_id, value);
                if let Err(SealError::UnknownKey) = flow {
                    refused = ResumeError::UnknownKey;
                }
                flow.ok()
            })
            .filter(|flow| flow.state.matches(state));
        let Some(flow) = flow else {
            return Err(refused);
        };
        if flow.is_alive(now) { Ok(flow) } else { Err(ResumeError::Expired(Box::new(flow))) }
    }

    /// Returns the flows of this browser that have not expired.
    pub fn alive(
        kind: CookieKind,
        keyring: &Keyring,
        app_id: &AppId,
        cookies: &[&str],
        now: Timestamp,
    ) -> impl Iterator<Item = Self> {
        ours(kind, cookies)
            .filter_map(|(_, value)| unseal(keyring, app_id, value).ok())
            .filter(move |flow| flow.is_alive(now))
    }

    /// Returns true until the flow expires.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        let age = now.as_second().saturating_sub(self.began_at.as_second());
        (-MAX_SKEW_SECONDS..LIFETIME_SECONDS).contains(&age)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires it")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires it")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn context(app_id: &AppId) -> Context<'_> {
    Context { purpose: Purpose::Flow, table: "", app_id, subject: "" }
}

/// Returns our cookies among the raw `Cookie` headers.
fn ours<'a>(kind: CookieKind, cookies: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    cookies
        .iter()
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(name, _)| name.starts_with(kind.prefix()))
}

fn unseal(keyring: &Keyring, app_id: &AppId, value: &str) -> Result<Flow, SealError> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(value).map_err(|_| SealError::Malformed)?;
    let json = keyring.open(&context(app_id), &sealed)?;
    let mut flow: Flow = serde_json::from_slice(&json).map_err(|_| SealError::Malformed)?;
    let milliseconds = SignedDuration::from_millis(flow.milliseconds.clamp(0, 999).into());
    flow.began_at = flow.began_at.checked_add(milliseconds).map_err(|_| SealError::Malformed)?;
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Browser {
        keyring: Keyring,
        app_id: AppId,
        jar: Vec<(String, String)>,
    }

    impl Browser {
        fn new() -> Self {
            let keyring = Keyring::from_json(&Keyring::generate("k").unwrap()).unwrap();
            Self { keyring, app_id: "1".parse().unwrap(), jar: Vec::new() }
        }

        fn header(&self) -> String {
            self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
        }

        fn start(&mut self, at: i64) -> Flow {
            self.start_with(Scopes::all(), at)
        }

        fn start_with(&mut self, scopes: Scopes, at: i64) -> Flow {
            let mut flow = Flow::begin(scopes, second(at)).unwrap();
            flow.return_to = Some(format!("https://app.example.com/{}", "x".repeat(480)));
            flow.session_id = Some("s".repeat(43));
            flow.user_id = Some("17841405793187218".parse().unwrap());
            flow.language = Some(Language::TraditionalChinese);
            let header = self.header();
            for set in flow.set_cookies(CookieKind::Host, &self.keyring, &self.app_id, &[&header]).unwrap() {
                let cookie = Cookie::parse(set).unwrap();
                self.jar.retain(|(name, _)| name != cookie.name());
                if cookie.max_age() != Some(cookie::time::Duration::ZERO) {
                    self.jar.push((cookie.name().to_owned(), cookie.value().to_owned()));
                }
            }
            flow
        }

        fn resume(&self, state: &State, at: i64) -> Result<Flow, ResumeError> {
            Flow::resume(CookieKind::Host, &self.keyring, &self.app_id, &[&self.header()], state, second(at))
        }
    }

    fn second(at: i64) -> Timestamp {
        Timestamp::from_second(at).unwrap()
    }

    #[test]
    fn the_cookie_has_every_attribute() {
        let browser = Browser::new();
        let flow = Flow::begin(Scopes::default(), second(0)).unwrap();
        let set = |kind| flow.set_cookies(kind, &browser.keyring, &browser.app_id, &[]).unwrap().remove(0);
        let host = set(CookieKind::Host);
        assert!(host.starts_with("__Host-threads-auth-"), "{host}");
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Secure", "; Path=/", "; Max-Age=4200"] {
            assert!(host.contains(attribute), "{attribute}");
        }
        assert!(!host.contains("Domain"));
        assert!(!set(CookieKind::Loopback).contains("Secure"));
    }

    #[test]
    fn resumes_only_in_its_browser_and_its_time() {
        let (mut browser, mut other) = (Browser::new(), Browser::new());
        let flow = browser.start(1_000);
        // The function that began it may have a clock ahead.
        for at in [700, 999, 1_599] {
            assert!(browser.resume(&flow.state, at).unwrap().state.matches(&flow.state), "{at}");
        }
        for at in [699, 1_600, 5_200] {
            let late = browser.resume(&flow.state, at);
            assert!(
                matches!(late, Err(ResumeError::Expired(known)) if known.state.matches(&flow.state)),
                "{at}"
            );
        }
        let foreign = other.start(1_000);
        assert!(matches!(browser.resume(&foreign.state, 1_000), Err(ResumeError::WrongBrowser)));
        // A cookie that is renamed for another state still holds its own.
        let another = "another".parse().unwrap();
        browser.jar[0].0 = CookieKind::Host.name(&another);
        assert!(matches!(browser.resume(&another, 1_000), Err(ResumeError::WrongBrowser)));
    }

    #[test]
    fn what_is_expired_is_no_flow_of_the_browser_and_goes_first() {
        let mut browser = Browser::new();
        let alive = |browser: &Browser, at: i64| -> Vec<String> {
            let header = browser.header();
            Flow::alive(CookieKind::Host, &browser.keyring, &browser.app_id, &[&header], second(at))
                .map(|flow| flow.state.as_str().to_owned())
                .collect()
        };
        let [early, ahead] = [0, 10_000].map(|at| browser.start(at));
        assert_eq!(alive(&browser, 599), [early.state.as_str()]);
        assert!(alive(&browser, 600).is_empty());
        // Another server's clock was ahead: its flow counts as expired too.
        let five: Vec<_> = (601..606).map(|at| browser.start(at)).collect();
        assert_eq!(browser.jar.len(), 5);
        for gone in [early, ahead] {
            assert!(matches!(browser.resume(&gone.state, 606), Err(ResumeError::WrongBrowser)));
        }
        assert!(five.iter().all(|flow| browser.resume(&flow.state, 606).is_ok()));
        assert_eq!(alive(&browser, 606).len(), 5);
        // Junk is removed before the expired.
        let mut browser = Browser::new();
        let late = browser.start(0);
        browser.jar.push((CookieKind::Host.name(&"junk".parse().unwrap()), "junk".to_owned()));
        (600..604).for_each(|at| drop(browser.start(at)));
        assert!(matches!(browser.resume(&late.state, 604), Err(ResumeError::Expired(_))));
        assert_eq!(browser.jar.len(), 5);
    }

    /// Another version may have more languages than this one.
    #[test]
    fn a_flow_in_a_language_that_is_not_known_goes_on() {
        let mut browser = Browser::new();
        let flow = browser.start(0);
        assert_eq!(browser.resume(&flow.state, 1).unwrap().language, Some(Language::TraditionalChinese));
        let json = serde_json::to_string(&flow).unwrap();
        for (other, expected) in [("tlh", None), ("th", Some(Language::Thai))] {
            let json = json.replace("zh-Hant", other);
            let sealed = browser.keyring.seal(&context(&browser.app_id), json.as_bytes()).unwrap();
            browser.jar[0].1 = BASE64_URL_SAFE_NO_PAD.encode(sealed);
            assert_eq!(browser.resume(&flow.state, 1).unwrap().language, expected, "{other}");
        }
    }

    #[test]
    fn five_tabs_stay_open_and_the_headers_small() {
        let mut browser = Browser::new();
        let flows: Vec<_> = (0..8).map(|n| browser.start(n)).collect();
        let alive: Vec<_> = flows.iter().map(|flow| browser.resume(&flow.state, 10).is_ok()).collect();
        assert_eq!(alive, [false, false, false, true, true, true, true, true]);
        assert!(browser.header().len() <= MAX_BYTES, "{}", browser.header().len());
        // The limit on their number also applies to small cookies.
        let mut browser = Browser::new();
        for at in 0..8 {
            browser.start_with(Scopes::requested([]), at);
        }
        assert_eq!(browser.jar.len(), MAX_OPEN);
    }

    #[test]
    fn fewer_tabs_stay_open_where_each_needs_more() {
        let longest: Scopes = ('a'..='z')
            .chain('a'..='e')
            .enumerate()
            .map(|(n, letter)| format!("threads_{}", letter.to_string().repeat(48 - n / 26)).parse().unwrap())
            .collect();
        assert_eq!(longest.len(), 31);
        let mut browser = Browser::new();
        for at in 0..8 {
            let flow = browser.start_with(Scopes::requested(longest.clone()), at);
            assert_eq!(browser.resume(&flow.state, 10).unwrap().scopes.len(), Scopes::MAX);
            assert!(browser.header().len() <= MAX_BYTES, "{}", browser.header().len());
            // A browser refuses longer cookies.
            assert!(browser.jar.iter().all(|(name, value)| name.len() + value.len() < 4_096));
        }
        let small = browser.start_with(Scopes::default(), 8);
        let another = browser.start_with(Scopes::default(), 9);
        assert!(browser.jar.len() > 2);
        for flow in [small, another] {
            assert!(browser.resume(&flow.state, 10).is_ok());
        }
    }
}
