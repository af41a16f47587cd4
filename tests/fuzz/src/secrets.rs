//! The texts of the three secrets.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use threads_auth_client::{Delivery, Webhook};
use threads_auth_model::seal::{Context, Keyring, KeyringChange, Purpose, change_keyring};
use threads_auth_model::webhook::WebhookSecret;
use threads_auth_store::{Secrets, aws};
use threads_graph::{AppId, HttpClient, HttpTimeouts};

use crate::loopback::{Loopback, answer};
use crate::text::assert_hides;

/// A keyring from which a key can be taken.
const OTHER: &str = r#"{"writing":"other","keys":{"other":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
    "tombstone":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    keyring(text);
    webhook(text);
    app(text);
}

fn keyring(text: &str) {
    let keyring = match Keyring::from_json(text) {
        Ok(keyring) => keyring,
        Err(error) => return assert_hides_all(text, &format!("{error} {error:?}")),
    };
    assert_hides_all_but_names(text, &format!("{keyring:?}"));
    let app_id: AppId = "123".parse().unwrap();
    let context = Context { purpose: Purpose::AccessToken, table: "grants", app_id: &app_id, subject: "1" };
    let sealed = keyring.seal(&context, b"a token").unwrap();
    assert_eq!(keyring.open(&context, &sealed).unwrap().as_slice(), b"a token");
    assert!(keyring.seals_like(&sealed));
    assert!(keyring.open(&Context { purpose: Purpose::Flow, ..context }, &sealed).is_err());
    assert!(keyring.open(&Context { subject: "2", ..context }, &sealed).is_err());
    let ids: Vec<String> = keyring.key_ids().map(str::to_owned).collect();
    assert!(ids.iter().all(|id| (1..=32).contains(&id.len())) && ids.iter().any(|id| id == keyring.writing()));
    let other = ids.iter().find(|id| *id != keyring.writing()).map_or("none", String::as_str);
    for change in [
        KeyringChange::Add("added"),
        KeyringChange::Take("other", OTHER),
        KeyringChange::Write(other),
        KeyringChange::Remove(other),
        KeyringChange::Identify("grants"),
        KeyringChange::Upgrade,
    ] {
        match change_keyring(text, change) {
            Ok(changed) => {
                let after = Keyring::from_json(&changed).unwrap();
                // An earlier value still opens, unless it was sealed for this very table's name.
                if !matches!(change, KeyringChange::Identify(_)) || keyring.id().is_none() {
                    assert_eq!(after.open(&context, &sealed).unwrap().as_slice(), b"a token", "{change:?}");
                }
                assert_kept(text, &changed);
            }
            Err(error) => assert_hides_all(text, &format!("{error} {error:?}")),
        }
    }
}

/// Fields of a later version stay.
fn assert_kept(before: &str, after: &str) {
    const OURS: [&str; 6] = ["writing", "keys", "tombstone", "format", "id", "table"];
    let [before, after]: [Value; 2] = [before, after].map(|text| serde_json::from_str(text).unwrap());
    for (name, value) in before.as_object().unwrap() {
        if !OURS.contains(&name.as_str()) {
            assert_eq!(after.get(name), Some(value), "{name}");
        }
    }
}

fn webhook(text: &str) {
    let now = Timestamp::from_second(1_760_000_000).unwrap();
    let secret = match WebhookSecret::from_json(text) {
        Ok(secret) => secret,
        Err(error) => return assert_hides_all(text, &format!("{error} {error:?}")),
    };
    let signed = secret.signatures("id", "body", now, now);
    let again = WebhookSecret::from_json(&secret.to_json()).unwrap();
    assert_eq!(again.signatures("id", "body", now, now), signed);
    assert_eq!(again.previous_until(now), secret.previous_until(now));
    // A receiver takes the secret, and believes what it has signed.
    let receiver = Webhook::new([secret.expose().as_str()]).unwrap();
    let delivery = Delivery { id: "id", timestamp: "1760000000", signature: &signed, body: b"body" };
    assert!(receiver.verify(&delivery, now).is_ok());
    let rotated = secret.rotated(Some(now.checked_add(SignedDuration::from_secs(1)).unwrap())).unwrap();
    let both = rotated.signatures("id", "body", now, now);
    assert!(receiver.verify(&Delivery { signature: &both, ..delivery }, now).is_ok());
}

fn app(text: &str) {
    thread_local! {
        static SERVER: (Loopback, aws_sdk_secretsmanager::Client) = {
            let server = Loopback::start();
            let client = client(&format!("http://{}", server.address));
            (server, client)
        };
    }
    SERVER.with(|(server, client)| {
        let now = Timestamp::from_second(1_760_000_000).unwrap();
        let secrets = Secrets::new(client.clone(), "app", "keyring", Duration::from_mins(5));
        let body = json!({"ARN": "arn", "Name": "app", "SecretString": text}).to_string();
        let headers = [("content-type", "application/x-amz-json-1.1")];
        match server.answering(answer(200, &headers, body.as_bytes()), secrets.app(now)) {
            Ok(app) => {
                let read: Value = serde_json::from_str(text).unwrap();
                if !read.is_object() {
                    return;
                }
                assert_eq!(read["app_secret"], app.credentials.app_secret.expose());
                assert!(!app.credentials.app_id.as_str().is_empty());
                assert_hides_all_but_names(text, &format!("{app:?}"));
                if let Some(previous) = app.previous(now) {
                    assert_eq!(read["previous"]["app_secret"], previous.expose());
                }
            }
            Err(error) => assert_hides_all(text, &format!("{error} {error:?}")),
        }
    });
}

fn client(url: &str) -> aws_sdk_secretsmanager::Client {
    let config = aws::AwsConfig {
        region: "eu-central-1".to_owned(),
        credentials: SharedCredentialsProvider::new(Credentials::new("id", "key", None, None, "tests")),
        dynamodb_url: None,
        secrets_manager_url: Some(url.to_owned()),
        eventbridge_url: None,
        sqs_url: None,
        timeouts: aws::timeouts(Duration::from_secs(30)),
    };
    aws::secrets_manager(&config, &HttpClient::new(HttpTimeouts::default()).unwrap())
}

/// Asserts that an error repeats no part of a text.
fn assert_hides_all(text: &str, shown: &str) {
    for part in text.split(['"', ':', ',', '{', '}']) {
        // The errors themselves show the names of fields.
        if !["app_secret", "app_id", "tombstone", "inspector", "writing", "previous"].contains(&part.trim()) {
            assert_hides(shown, part);
        }
    }
}

/// Asserts that nothing shows what stands where a secret does.
fn assert_hides_all_but_names(text: &str, shown: &str) {
    let read: Value = serde_json::from_str(text).unwrap();
    let keys = read.get("keys").and_then(Value::as_object).into_iter().flat_map(|keys| keys.values());
    for secret in keys.chain([&read["tombstone"], &read["app_secret"], &read["previous"]["app_secret"]]) {
        assert_hides(shown, secret.as_str().unwrap_or_default());
    }
}
