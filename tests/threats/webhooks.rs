//! Nobody but us can post an event to the app's backend, and a delivery shows nothing to a log.

use std::time::Duration;

use jiff::Timestamp;
use threads_auth_model::webhook::WebhookSecret;

use super::secrets::log;
use crate::fixture::{Browser, account};
use crate::webhook::{Answer, Post, Receiver, secret, stack_for};

/// The most by which a delivery's time may differ from the receiver's, in Standard Webhooks'
/// libraries.
const TOLERANCE: i64 = 300;

/// Verifies a delivery as the libraries of Standard Webhooks do.
fn takes(post: &Post, secret: &str, now: Timestamp) -> bool {
    let Ok(at) = post.header("webhook-timestamp").parse::<i64>() else { return false };
    let is_signed = post.header("webhook-signature").contains(',') && post.signed_by(secret).contains(&true);
    is_signed && !post.header("webhook-id").is_empty() && (now.as_second() - at).abs() <= TOLERANCE
}

/// Every variant of a delivery with one byte changed, in what is signed.
fn changed(post: &Post) -> Vec<Post> {
    let mut all = Vec::new();
    for n in 0..post.body.len() {
        let mut body = post.body.clone().into_bytes();
        body[n] ^= 1;
        all.extend(String::from_utf8(body).ok().map(|body| Post { body, ..post.clone() }));
    }
    for name in ["webhook-id", "webhook-timestamp"] {
        for n in 0..post.header(name).len() {
            let mut text = post.header(name).to_owned().into_bytes();
            text[n] ^= 1;
            let mut forged = post.clone();
            forged.headers.insert(name, String::from_utf8(text).unwrap().parse().unwrap());
            all.push(forged);
        }
    }
    // A full stop moved from one part into the other.
    let mut moved = post.clone();
    let (id, at) = (post.header("webhook-id"), post.header("webhook-timestamp"));
    let (name, rest) = id.split_once('.').unwrap();
    moved.headers.insert("webhook-id", name.parse().unwrap());
    moved.headers.insert("webhook-timestamp", rest.parse().unwrap());
    moved.body = format!("{at}.{}", post.body);
    all.push(moved);
    all
}

#[tokio::test]
async fn threat_forged_webhooks() {
    let receiver = Receiver::up();
    let stack = stack_for(&receiver, &[]).await;
    Browser::new().connect(&stack, &account(&stack, "ada")).await;
    stack.announce().await.unwrap();
    stack.deliver().await;
    let post = receiver.take().remove(0);
    let key = secret(&stack).await.expose();
    let now = stack.clock().now();
    assert!(takes(&post, &key, now));

    let mut forged = changed(&post);
    let other = WebhookSecret::generate().unwrap();
    for signature in [
        String::new(),
        post.header("webhook-signature").replacen("v1,", "v1a,", 1),
        other.signatures(post.header("webhook-id"), &post.body, now, now),
    ] {
        let mut unsigned = post.clone();
        unsigned.headers.insert("webhook-signature", signature.parse().unwrap());
        forged.push(unsigned);
    }
    let accepted = forged.iter().filter(|forged| takes(forged, &key, now)).count();
    let late = now.checked_add(Duration::from_secs(301)).unwrap();
    let replayed = [late, Timestamp::MAX].into_iter().filter(|now| takes(&post, &key, *now)).count();
    println!(
        "threat forged-webhook: {} forged deliveries and 2 replayed late, {} accepted",
        forged.len(),
        accepted + replayed
    );
    assert!(forged.len() > 300);
    assert_eq!((accepted, replayed), (0, 0));
}

/// The log has the event's id and the status of each attempt, and neither the secret nor a
/// signature, the receiver's URL, the event or the answer.
#[tokio::test]
async fn a_delivery_shows_nothing_to_the_log() {
    let captured = log();
    let mut receiver = Receiver::down();
    let stack = stack_for(&receiver, &[]).await;
    Browser::new().connect(&stack, &account(&stack, "ada")).await;
    stack.announce().await.unwrap();
    let mut posts = Vec::new();
    for (n, status) in [None, Some(500), Some(307), Some(410)].into_iter().enumerate() {
        if n == 1 {
            receiver.listen();
        }
        receiver.will(status.map(Answer::Status));
        stack.deliver().await;
        stack.clock().advance(Duration::from_secs(10));
        posts.extend(receiver.take());
    }
    let logged = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    let id = posts[0].header("webhook-id").to_owned();
    let ours: Vec<_> = logged.lines().filter(|line| line.contains(&id)).collect();
    let outcomes: Vec<_> = ["not_delivered", "gone"]
        .map(|outcome| ours.iter().filter(|line| line.contains(outcome)).count())
        .into();
    assert_eq!((posts.len(), outcomes), (3, vec![3, 1]), "{ours:#?}");
    let key = secret(&stack).await;
    let mut canaries = vec![key.expose()["whsec_".len()..].to_owned(), "canary: nobody".to_owned()];
    canaries.push("canary-token".to_owned());
    canaries.push(receiver.url.port().unwrap().to_string() + "/threads");
    for post in &posts {
        canaries.extend([post.body.clone(), post.header("webhook-signature").to_owned()]);
    }
    let found: Vec<_> = canaries.iter().filter(|canary| logged.contains(canary.as_str())).collect();
    assert_eq!(found, Vec::<&String>::new());
}
