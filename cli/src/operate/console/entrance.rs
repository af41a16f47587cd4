//! The console's users: only a browser that has opened the link from the terminal is admitted.
//!
//! The link holds a secret that is exchanged once for a cookie. Browsers send a cookie to every
//! port of its host, so this one is bound to a path that nobody can guess: another server of this
//! machine never receives it. Each form also has a key, so that a foreign page that makes the
//! browser send a request changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use threads_auth_model::seal::random_text;
use zeroize::Zeroizing;

const COOKIE: &str = "threads_auth_console";

/// The path of the link.
pub(super) const OPEN: &str = "/open/";

/// The link, the cookie and the forms' key of one run.
pub(super) struct Entrance {
    link: Zeroizing<String>,
    is_used: AtomicBool,
    cookie: Zeroizing<String>,
    form_key: Zeroizing<String>,
    base: String,
}

impl Entrance {
    pub(super) fn new() -> Result<Self> {
        let secret = || random_text::<32>().map(Zeroizing::new);
        Ok(Self {
            link: secret()?,
            is_used: AtomicBool::new(false),
            cookie: secret()?,
            form_key: secret()?,
            base: format!("/{}", random_text::<16>()?),
        })
    }

    /// Returns the path of the console.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Returns the link that opens the console once.
    pub(super) fn link(&self, origin: &str) -> String {
        format!("{origin}{OPEN}{}", *self.link)
    }

    /// Exchanges the secret of the link for the cookie, the first time.
    pub(super) fn open(&self, secret: &str) -> Option<String> {
        let is_first = is_same(secret, &self.link) && !self.is_used.swap(true, Ordering::AcqRel);
        is_first.then(|| format!("{COOKIE}={}; Path={}; HttpOnly; SameSite=Strict", *self.cookie, self.base))
    }

    /// Returns true if a request has the cookie. Others may have set one of its name.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let ours = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        ours.filter(|(name, _)| *name == COOKIE).any(|(_, value)| is_same(value, &self.cookie))
    }

    /// Returns the key that every form of ours sends.
    pub(super) fn form_key(&self) -> &str {
        &self.form_key
    }

    /// Returns true if a form of ours was sent.
    pub(super) fn is_own_form(&self, key: &str) -> bool {
        is_same(key, &self.form_key)
    }
}

fn is_same(given: &str, secret: &str) -> bool {
    given.as_bytes().ct_eq(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (header::COOKIE, HeaderValue::from_str(cookie).unwrap())).collect()
    }

    #[test]
    fn the_link_opens_once() {
        let entrance = Entrance::new().unwrap();
        let link = entrance.link("http://127.0.0.1:1");
        let secret = link.strip_prefix("http://127.0.0.1:1/open/").unwrap();
        assert!(secret.len() >= 43, "256 bits");
        for wrong in ["", "x", &secret[1..], &format!("{secret}x")] {
            assert_eq!(entrance.open(wrong), None);
        }
        let cookie = entrance.open(secret).unwrap();
        assert_eq!(entrance.open(secret), None);
        let (pair, rest) = cookie.split_once("; ").unwrap();
        assert_eq!(rest, format!("Path={}; HttpOnly; SameSite=Strict", entrance.base()));
        assert!(entrance.base().len() > 21 && !link.contains(entrance.base()));
        assert!(!cookie.contains(secret) && !cookie.contains(entrance.form_key()));
        assert!(entrance.admits(&with(&[pair])));
    }

    #[test]
    fn only_the_cookie_admits() {
        let entrance = Entrance::new().unwrap();
        let value = entrance.cookie.to_string();
        let ours = format!("{COOKIE}={value}");
        for fine in [
            &[ours.as_str()][..],
            &[&format!("a=b; {ours}")],
            &[&format!("{COOKIE}=planted; {ours}")],
            &["a=b", &ours],
        ] {
            assert!(entrance.admits(&with(fine)), "{fine:?}");
        }
        for wrong in [
            &[][..],
            &[""],
            &[COOKIE],
            &[&value],
            &[&format!("{COOKIE}=")],
            &[&format!("{COOKIE}={}", &value[1..])],
            &[&format!("x{ours}")],
            &[&format!("{COOKIE}=\"{value}\"")],
            &[&format!("{COOKIE}={}", entrance.form_key())],
        ] {
            assert!(!entrance.admits(&with(wrong)), "{wrong:?}");
        }
        assert!(!Entrance::new().unwrap().admits(&with(&[&ours])), "of another run");
    }

    #[test]
    fn only_the_forms_key_is_the_forms_key() {
        let entrance = Entrance::new().unwrap();
        assert!(entrance.is_own_form(entrance.form_key()));
        assert!(!entrance.is_own_form("") && !entrance.is_own_form(&entrance.cookie));
    }
}
