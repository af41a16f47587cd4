//! Single values that come as text: what is accepted is within its limits, and its text is read
//! back as the same value.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use threads_auth::{AppName, Language, Link, OriginProof, OriginSecrets, Rgb, TokenHash, UiLocales};
use threads_auth_client::Order;
use threads_auth_model::{Cause, Key, Pseudonym, Status};
use threads_graph::{
    AccessToken, AppId, DialogRefusal, Endpoints, RedirectUri, Scope, Scopes, State, UserId, redacted,
};
use url::Url;

use crate::text::assert_hides;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_round_trip::<AppId>(text, 32);
    assert_round_trip::<RedirectUri>(text, 2_048);
    assert_round_trip::<Status>(text, 32);
    if let Ok(uri) = text.parse::<RedirectUri>() {
        let url = Url::parse(text).unwrap();
        assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none());
        assert_eq!(uri.as_str(), text);
    }
    if let Ok(id) = text.parse::<UserId>() {
        assert_eq!(Key::grant(&id).user_id(), Some(id));
    }
    if let Ok(pseudonym) = text.parse::<Pseudonym>() {
        assert_eq!(pseudonym.as_str(), text);
        assert!(text.parse::<UserId>().is_err());
    }
    if let Ok(cause) = text.parse::<Cause>() {
        assert_eq!(cause.as_str(), text);
    }
    scopes(text);
    secrets(text);
    languages(text);
    brand(text);
    if let Ok(endpoints) = Endpoints::new(text, text, "v1.0") {
        assert!(endpoints.graph.query().is_none() && endpoints.graph.username().is_empty());
        assert!(Endpoints::new(&endpoints.authorize, &endpoints.graph, "v1.0").is_ok());
    }
    if let Ok(order) = Order::try_from(text.to_owned()) {
        assert_eq!(Order::try_from(order.to_string()).unwrap(), order);
        assert_eq!(order.as_str(), if order.as_str() == "0" { "0" } else { text.trim_start_matches('0') });
    }
    if let Some(refusal) = DialogRefusal::parse(text) {
        let message = refusal.message.unwrap_or_default();
        assert!(message.chars().count() <= 300 && !message.chars().any(char::is_control), "{message}");
        assert_eq!(redacted(&message), message);
    }
}

fn assert_round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str, longest: usize)
where
    T::Err: Display + Debug,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert!(text.len() <= longest, "{text}");
            assert_eq!(value.to_string(), text);
        }
        Err(error) => assert_hides(&format!("{error} {error:?}"), text),
    }
}

fn scopes(text: &str) {
    if let Ok(scopes) = text.parse::<Scopes>() {
        assert!(scopes.iter().len() <= Scopes::MAX && scopes.iter().any(|scope| scope == Scope::Basic));
        assert_eq!(scopes.to_string().parse::<Scopes>().unwrap(), scopes);
        let words: Scopes = scopes.to_string().split(',').map(|word| word.parse::<Scope>().unwrap()).collect();
        assert_eq!(words, scopes);
    }
}

fn secrets(text: &str) {
    match AccessToken::new(text) {
        Ok(token) => {
            assert_eq!(token.expose(), text);
            assert!((1..=4_096).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_hides(&format!("{token:?}"), text);
        }
        Err(error) => assert_hides(&format!("{error} {error:?}"), text),
    }
    if let Ok(state) = text.parse::<State>() {
        assert!(state.matches(&text.parse().unwrap()));
        assert_hides(&format!("{state:?}"), text);
    }
    match text.parse::<OriginSecrets>() {
        Ok(secrets) => {
            let known = text.split(',').filter(|secret| *secret != "-");
            assert!(known.clone().all(|secret| secrets.contains(&OriginProof::new(secret))));
            assert!(known.clone().all(|secret| (32..=64).contains(&secret.len())) && known.count() > 0);
            assert!(!secrets.contains(&OriginProof::new("-")) && !secrets.contains(&OriginProof::new("")));
            assert_hides(&format!("{secrets:?}"), text);
        }
        Err(error) => assert_hides(&format!("{error} {error:?}"), text),
    }
    if text.parse::<TokenHash>().is_ok() {
        assert!(text.len() == 64 && text.to_uppercase().parse::<TokenHash>().is_ok());
    }
    // A text that begins like an app's token is gone up to the next white space or quotation mark.
    let shown = redacted(text);
    assert_eq!(redacted(&shown), shown);
    let planted = format!("{text} TH|1|CANARYCANARY");
    assert!(text.contains("CANARY") || !redacted(&planted).contains("CANARY"));
}

fn languages(text: &str) {
    if let Some(language) = Language::of_accept_language(text) {
        // A header that asks for it alone gives it, too.
        assert_eq!(Language::of_accept_language(language.as_str()), Some(language));
    }
    if let Ok(locales) = text.parse::<UiLocales>() {
        assert!(text.len() <= 128 && locales.as_str() == text);
        assert_eq!(locales.language(), text.split(' ').find_map(Language::of_tag));
    }
}

fn brand(text: &str) {
    if let Ok(name) = text.parse::<AppName>() {
        assert!(name.as_str() == text && text.chars().count() <= 60 && !text.chars().any(char::is_control));
    }
    if let Ok(link) = text.parse::<Link>() {
        let shown = link.as_str();
        assert!(shown.starts_with("https://") && !shown.contains(['"', '\'', '<', '>', ' ']), "{shown}");
        assert_eq!(shown.parse::<Link>().map(|link| link.as_str().to_owned()).as_deref(), Ok(shown));
    }
    if let Ok(Rgb([red, green, blue])) = text.parse() {
        assert!(text.eq_ignore_ascii_case(&format!("#{red:02x}{green:02x}{blue:02x}")));
    }
}
