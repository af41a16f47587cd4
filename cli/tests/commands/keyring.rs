//! Two people at one keyring. Between them and the stack's Secrets Manager is a server of the
//! test's own, which forwards everything, can do something in between, and can lose an answer.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use devstack::Urls;
use serde_json::{Value, json};
use threads_graph::HttpClient;

use crate::stack::{Local, forward};
use crate::support::{Ended, Running, http, run, text};

/// An event after so many labels were moved, in the middle of moving the next.
type Meanwhile = Box<dyn FnOnce() + Send>;

struct Shared {
    local: Local,
    url: String,
    meanwhile: Arc<Mutex<Option<(usize, Meanwhile)>>>,
    loses_an_answer: Arc<AtomicBool>,
}

impl Shared {
    fn new() -> Self {
        let local = Local::new();
        let listener =
            local.runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (meanwhile, loses_an_answer) = (Arc::default(), Arc::default());
        let between = Arc::new(Between {
            http: http(),
            url: url.clone(),
            stack: local.stack.urls().service_url.clone(),
            urls: local.stack.urls().clone(),
            meanwhile: Arc::clone(&meanwhile),
            loses_an_answer: Arc::clone(&loses_an_answer),
        });
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let between = Arc::clone(&between);
            async move { between.answer(&uri, &headers, body).await }
        });
        local.runtime.spawn(async { axum::serve(listener, router).await });
        Self { local, url, meanwhile, loses_an_answer }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.local.bare(arguments);
        command.arg(format!("--local={}", self.url));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(self.command(arguments))
    }

    /// Runs a whole other command after `moves` labels, before the next one is moved.
    fn meanwhile(&self, moves: usize, arguments: &[&str]) {
        let other = self.command(arguments);
        let work = move || {
            run(other).expect(0);
        };
        *self.meanwhile.lock().unwrap() = Some((moves, Box::new(work)));
    }

    fn ring(&self) -> Value {
        serde_json::from_str(&self.local.secret(&self.local.stack.urls().keyring_secret_id)).unwrap()
    }
}

struct Between {
    http: HttpClient,
    url: String,
    stack: String,
    urls: Urls,
    meanwhile: Arc<Mutex<Option<(usize, Meanwhile)>>>,
    loses_an_answer: Arc<AtomicBool>,
}

impl Between {
    async fn answer(&self, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
        if uri.path() == "/dev/stack" {
            let mut told = self.get(&format!("{}{uri}", self.stack)).await;
            told["variables"]["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = json!(self.url);
            return axum::Json(told).into_response();
        }
        let target = headers["x-amz-target"].to_str().unwrap();
        if !target.ends_with(".UpdateSecretVersionStage") {
            return self.forward(target, body).await;
        }
        let due = {
            let mut meanwhile = self.meanwhile.lock().unwrap();
            match meanwhile.take() {
                Some((0, work)) => Some(work),
                Some((moves, work)) => {
                    *meanwhile = Some((moves - 1, work));
                    None
                }
                None => None,
            }
        };
        if let Some(work) = due {
            tokio::task::spawn_blocking(work).await.unwrap();
        }
        let answer = self.forward(target, body).await;
        if self.loses_an_answer.swap(false, Ordering::Relaxed) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        answer
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn get(&self, url: &str) -> Value {
        let answer = self.http.inner().get(url).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn forward(&self, target: &str, body: Bytes) -> Response {
        let secrets = ("secretsmanager", self.urls.secrets_manager_url.as_str());
        forward(&self.http, &self.urls, secrets, target, body).await
    }
}

/// Every key of the first keyring is in the second, unchanged.
#[track_caller]
fn keeps(before: &Value, after: &Value) {
    for (id, key) in before["keys"].as_object().unwrap() {
        assert_eq!(&after["keys"][id], key, "the key {id} is lost");
    }
    assert_eq!(before["tombstone"], after["tombstone"]);
}

#[test]
fn a_rotation_between_the_steps_of_another_loses_no_key() {
    let shared = Shared::new();
    let rotate = |id| ["keyring", "rotate", "--wait", "0", "--key-id", id];
    let first = shared.ring();

    // It comes between reading the keyring and adding a key to it …
    shared.meanwhile(0, &rotate("theirs"));
    shared.run(&rotate("mine")).says(4, &["somebody else changed the keyring", "keyring show"]);
    let second = shared.ring();
    keeps(&first, &second);
    assert_eq!(second["writing"], "theirs");
    assert_eq!(second["keys"].as_object().unwrap().len(), 2);
    shared.local.account("17841400000000001");

    // … and between reading it again and letting the new key seal.
    shared.meanwhile(1, &rotate("theirs-too"));
    shared.run(&rotate("mine")).says(4, &["The key mine was added", "somebody else changed the keyring"]);
    let third = shared.ring();
    keeps(&second, &third);
    assert_eq!(third["writing"], "theirs-too");
    assert_eq!(shared.local.run(&["keyring", "show", "--json"]).json()["missing"], json!([]));

    // A rotation that was begun is resumed.
    shared.run(&rotate("mine")).says(0, &["The key mine exists already"]);
    let last = shared.ring();
    keeps(&third, &last);
    assert_eq!(last["writing"], "mine");
}

#[test]
fn a_key_that_seals_again_is_not_pruned() {
    let shared = Shared::new();
    let first = shared.ring();
    let old = text(&first, "/writing").to_owned();
    let rotate = ["keyring", "rotate", "--wait", "0", "--key-id"];
    shared.run(&[&rotate[..], &["new"]].concat()).expect(0);
    // Nothing is sealed with it when it is looked at, and before it goes it is the one that seals.
    shared.meanwhile(0, &[&rotate[..], &[old.as_str()]].concat());
    let prune = ["keyring", "prune", &old, "--yes", "--unchanged-for", "0"];
    shared.run(&prune).says(4, &["somebody else changed the keyring"]);
    keeps(&first, &shared.ring());
    assert_eq!(shared.ring()["writing"], json!(old));
    shared.local.account("17841400000000001");
}

#[test]
fn a_change_whose_answer_got_lost_was_made() {
    let shared = Shared::new();
    shared.loses_an_answer.store(true, Ordering::Relaxed);
    shared.run(&["keyring", "rotate", "--wait", "0", "--key-id", "new"]).expect(0);
    assert!(!shared.loses_an_answer.load(Ordering::Relaxed));
    assert_eq!(shared.ring()["writing"], "new");
}

#[test]
fn a_version_of_the_app_is_current_though_the_answer_got_lost() {
    let shared = Shared::new();
    let app = shared.local.stack.urls().app_secret_id.clone();
    let good = shared.local.secret(&app);
    shared.local.put_secret(&app, "{}");
    shared.loses_an_answer.store(true, Ordering::Relaxed);
    shared.run(&["restore-secret", "app", "--yes"]).expect(0);
    assert!(!shared.loses_an_answer.load(Ordering::Relaxed));
    assert_eq!(shared.local.secret(&app), good);
}

#[test]
fn many_who_rotate_at_once_lose_no_key() {
    let shared = Shared::new();
    for round in 0..30 {
        let before = shared.ring();
        let ids = ["a", "b", "c"].map(|who| format!("{round}-{who}"));
        let running = ids
            .each_ref()
            .map(|id| Running::start(shared.command(&["keyring", "rotate", "--wait", "0", "--key-id", id])));
        let ended = running.map(Running::end);
        let codes = ended.each_ref().map(|ended| ended.code);
        assert!(codes.iter().all(|code| [0, 4].contains(code)), "{ended:?}");
        let after = shared.ring();
        keeps(&before, &after);
        for (id, code) in ids.iter().zip(codes) {
            assert!(code == 4 || after["keys"][id].is_string(), "{id} was made and is lost");
        }
        let sealing = text(&after, "/writing");
        assert!(after["keys"][sealing].is_string());
    }
}

#[test]
fn two_who_put_a_lost_key_back_at_once_do_not_overwrite_each_other() {
    let shared = Shared::new();
    let first = shared.local.secret(&shared.local.stack.urls().keyring_secret_id);
    shared.run(&["keyring", "rotate", "--wait", "0", "--key-id", "lost"]).expect(0);
    shared.local.account("17841400000000001");
    // Somebody puts the keyring of before in its place.
    shared.local.put_secret(&shared.local.stack.urls().keyring_secret_id, &first);
    let restore = ["restore-secret", "keyring", "--yes"];
    // Two put it back at the same moment.
    shared.meanwhile(0, &restore);
    shared.run(&restore).says(4, &["somebody else changed the keyring"]);
    let theirs = shared.ring();
    keeps(&serde_json::from_str(&first).unwrap(), &theirs);
    assert!(theirs["keys"]["lost"].is_string());
    let again = shared.run(&restore);
    assert!(again.expect(0).stdout.contains("No version has a key that is missing"), "{again:?}");
    assert_eq!(shared.ring(), theirs);
}
