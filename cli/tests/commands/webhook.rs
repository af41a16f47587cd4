//! `webhook`: the secret that signs webhooks is shown on request, and rotated without a gap.

use std::collections::HashMap;

use devstack::Clock;
use serde_json::Value;
use threads_auth_model::webhook::WebhookSecret;

use crate::stack::Local;
use crate::support::{run, text};

const ID: &str = "threads-auth/webhook";

fn posting() -> Local {
    let variables = [("WEBHOOK_URL", "http://127.0.0.1:9/threads"), ("WEBHOOK_SECRET_ID", ID)];
    let variables: HashMap<_, _> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Local::at(Clock::frozen("2041-01-01T00:00:00Z".parse().unwrap()), variables)
}

fn stored(local: &Local) -> WebhookSecret {
    WebhookSecret::from_json(&local.secret(ID)).unwrap()
}

#[test]
fn a_secret_is_shown_and_rotated_and_the_one_before_signs_for_a_day() {
    let local = posting();
    let old = stored(&local);
    let shown = run(local.command(&["webhook", "secret"]));
    shown.expect(0);
    assert_eq!((shown.stdout.trim(), shown.stderr.as_str()), (old.expose().as_str(), ""));

    let rotated = run(local.command(&["webhook", "rotate", "--json"]));
    let json = rotated.json();
    assert_eq!(text(&json, "/previous_signs_until"), "2041-01-02T00:00:00Z");
    let new = stored(&local);
    let now = local.stack.clock().now();
    let signed = |secret: &WebhookSecret| secret.signatures("id", "{}", now, now);
    assert_eq!(signed(&new).split_once(' ').unwrap().1, signed(&old));
    assert!(!rotated.stdout.contains("whsec_") && !rotated.stderr.contains("whsec_"));
    let shown = run(local.command(&["webhook", "secret", "--json"])).json();
    assert_eq!(text(&shown, "/secret"), new.expose().as_str());
    assert_eq!(text(&shown, "/previous_signs_until"), "2041-01-02T00:00:00Z");

    // A second rotation would end the first early: the receiver may still have the former secret.
    run(local.command(&["webhook", "rotate"])).expect(4);
    assert_eq!(stored(&local).expose(), new.expose());
    // After a leak there is no wait.
    let json = run(local.command(&["webhook", "rotate", "--compromised", "--json"])).json();
    assert_eq!(json["previous_signs_until"], Value::Null);
    let newest = stored(&local);
    assert_ne!(newest.expose(), new.expose());
    assert_eq!(signed(&newest).split(' ').count(), 1);
    // Once the day is over, another one is made.
    run(local.command(&["webhook", "rotate", "--hours", "1"])).expect(0);
    local.stack.clock().advance(std::time::Duration::from_secs(3_601));
    run(local.command(&["webhook", "rotate"])).expect(0);
}

#[test]
fn without_webhooks_there_is_no_secret() {
    let local = Local::new();
    for arguments in [["webhook", "secret"], ["webhook", "rotate"]] {
        let ended = run(local.command(&arguments));
        ended.expect(2);
        assert!(ended.stderr.contains("--webhook"), "{}", ended.stderr);
    }
}
