//! The `Cookie` headers of a browser, one a line. `@alive`, `@late` and `@ahead` stand for genuine
//! cookies, and the first line is the content of a sealed one.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cookie::Cookie;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use threads_auth::{CookieKind, Flow, ResumeError};
use threads_auth_model::seal::{Context, Keyring, Purpose};
use threads_graph::{AppId, Scopes, State};

use crate::text::lines;

const PREFIX: &str = "__Host-threads-auth-";
const KEYRING: &str = r#"{"writing":"k","keys":{"k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
    "tombstone":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#;
const NOW: i64 = 1_760_000_000;
const MOST: usize = 5;

pub(crate) fn run(data: &[u8]) {
    let Some(([content], headers)) = lines::<1>(data) else { return };
    let server = Server { keyring: Keyring::from_json(KEYRING).unwrap(), app_id: "123".parse().unwrap() };
    server.sealed(content);
    server.headers(headers);
}

struct Server {
    keyring: Keyring,
    app_id: AppId,
}

impl Server {
    /// A cookie that was sealed, with any content: another version may have written it.
    fn sealed(&self, content: &str) {
        let place = Context { purpose: Purpose::Flow, table: "", app_id: &self.app_id, subject: "" };
        let value = BASE64_URL_SAFE_NO_PAD.encode(self.keyring.seal(&place, content.as_bytes()).unwrap());
        let Some(state) = serde_json::from_str::<serde_json::Value>(content).ok().and_then(|content| {
            content.get("s")?.as_str()?.parse::<State>().ok()
        }) else {
            return;
        };
        let header = format!("{}={value}", name(&state));
        match self.resume(&[&header], &state) {
            Ok(flow) | Err(ResumeError::Expired(flow)) => {
                assert!(flow.state.matches(&state));
                assert_eq!(self.alive(&[&header]).len(), usize::from(flow.is_alive(at(0))));
            }
            Err(ResumeError::WrongBrowser) => assert!(self.alive(&[&header]).is_empty()),
            Err(ResumeError::UnknownKey) => panic!("it was sealed with the only key"),
        }
    }

    fn headers(&self, headers: &str) {
        let mut genuine = Vec::new();
        let mut replaced = headers.to_owned();
        for (word, age, is_alive) in [("@alive", 60, true), ("@late", 700, false), ("@ahead", -400, false)] {
            let flow = Self::flow(age);
            let set = self.set(&flow, &[]);
            let pair = Cookie::parse(set.last().unwrap().as_str()).unwrap().stripped().to_string();
            if replaced.contains(word) {
                replaced = replaced.replacen(word, &pair, 1);
                genuine.push((flow, is_alive));
            }
        }
        let headers: Vec<&str> = replaced.lines().collect();
        let alive = self.alive(&headers);
        assert!(alive.iter().all(|found| genuine.iter().any(|(flow, _)| flow.state.matches(&found.state))));
        for (flow, is_alive) in &genuine {
            match self.resume(&headers, &flow.state) {
                Ok(found) => assert!(*is_alive && found.state.matches(&flow.state)),
                Err(ResumeError::Expired(found)) => assert!(!is_alive && found.state.matches(&flow.state)),
                Err(ResumeError::WrongBrowser | ResumeError::UnknownKey) => {}
            }
        }
        let foreign = self.resume(&headers, &"foreign".parse().unwrap());
        assert!(matches!(foreign, Err(ResumeError::WrongBrowser | ResumeError::UnknownKey)));
        self.one_more(&headers);
    }

    /// A new flow leaves a browser with a few cookies of ours.
    fn one_more(&self, headers: &[&str]) {
        let flow = Self::flow(0);
        let set = self.set(&flow, headers);
        let (own, removals) = set.split_last().unwrap();
        let own = Cookie::parse(own.as_str()).unwrap();
        assert_eq!((own.name(), own.path(), own.domain()), (name(&flow.state).as_str(), Some("/"), None));
        let mut left: Vec<&str> = headers
            .iter()
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(name, _)| name)
            .filter(|name| name.starts_with(PREFIX))
            .collect();
        for removal in removals {
            let (name, attributes) = removal.split_once('=').unwrap();
            assert!(attributes.starts_with("; HttpOnly; ") && attributes.contains("Max-Age=0"), "{removal}");
            let at = left.iter().position(|known| *known == name).expect("only what it has is removed");
            left.remove(at);
        }
        assert!(left.len() < MOST, "{left:?}");
    }

    fn flow(age: i64) -> Flow {
        Flow::begin(Scopes::default(), at(-age)).unwrap()
    }

    fn set(&self, flow: &Flow, headers: &[&str]) -> Vec<String> {
        flow.set_cookies(CookieKind::Host, &self.keyring, &self.app_id, headers).unwrap()
    }

    fn alive(&self, headers: &[&str]) -> Vec<Flow> {
        Flow::alive(CookieKind::Host, &self.keyring, &self.app_id, headers, at(0)).collect()
    }

    fn resume(&self, headers: &[&str], state: &State) -> Result<Box<Flow>, ResumeError> {
        Flow::resume(CookieKind::Host, &self.keyring, &self.app_id, headers, state, at(0)).map(Box::new)
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW).unwrap().checked_add(SignedDuration::from_secs(second)).unwrap()
}

fn name(state: &State) -> String {
    let digest = digest(&SHA256, state.as_str().as_bytes());
    format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..6]))
}
