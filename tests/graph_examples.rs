//! The examples of `threads-graph`, run against the sandbox.

use std::future::pending;
use std::time::Duration;

use jiff::Timestamp;
use threads_graph::{
    AppCredentials, AppSecret, Endpoints, ErrorKind, Graph, HttpClient, HttpTimeouts, ReauthorizationCause,
    RedirectUri,
};
use threads_sandbox::{Clock, Fault, FaultAction, NewAccount, Sandbox, SandboxCall, SandboxOptions};
use tokio::net::TcpListener;
use url::Url;

#[path = "../shared/threads-graph/examples/login.rs"]
#[expect(dead_code, reason = "its main is for `cargo run`")]
mod login;
#[path = "../shared/threads-graph/examples/refresh.rs"]
#[expect(dead_code, reason = "its main is for `cargo run`")]
mod refresh;

use self::login::login;
use self::refresh::{Next, refresh};

const APP_ID: &str = "1234567890123456";
const SECRET: &str = "the-secret-of-the-sandbox-app";
const ADA: &str = "17841405793187218";
const DAY: Duration = Duration::from_hours(24);

struct Meta {
    sandbox: Sandbox,
    graph: Graph,
    http: HttpClient,
    app: AppCredentials,
    redirect_uri: RedirectUri,
}

impl Meta {
    async fn start() -> Self {
        let sandbox = Sandbox::new(SandboxOptions {
            clock: Clock::frozen(Timestamp::from_second(1_800_000_000).unwrap()),
            accounts: vec![NewAccount::new("ada", ADA)],
            ..SandboxOptions::new(APP_ID, SECRET)
        });
        let sandbox = sandbox.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(sandbox.clone().serve(listener, pending()));
        let http = HttpClient::new(HttpTimeouts::default()).unwrap();
        let endpoints = Endpoints::new(format!("{origin}/oauth/authorize"), origin, "v1.0").unwrap();
        Self {
            sandbox,
            graph: Graph::new(http.clone(), endpoints),
            http,
            app: AppCredentials {
                app_id: APP_ID.parse().unwrap(),
                app_secret: AppSecret::new(SECRET).unwrap(),
            },
            redirect_uri: "https://app.example/callback".parse().unwrap(),
        }
    }

    /// A browser in which Ada presses a button: the address to which she is sent back.
    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    async fn press(&self, mut url: Url, button: (&str, &str)) -> Url {
        url.query_pairs_mut().append_pair(button.0, button.1);
        let answer = self.http.inner().get(url).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn a_person_logs_in_and_the_token_is_refreshed_until_it_dies() {
    let meta = Meta::start().await;
    let visit = async |url| Ok(meta.press(url, ("auto_approve", ADA)).await);
    let (profile, token) = login(&meta.graph, &meta.app, &meta.redirect_uri, visit).await.unwrap();
    assert_eq!((profile.id.as_str(), profile.username.as_deref()), (ADA, Some("ada")));
    assert_eq!(token.expires_in, Some(Duration::from_secs(5_183_944)));

    let next = async |token| refresh(&meta.graph, token).await.unwrap();
    assert!(matches!(next(&token.access_token).await, Next::TryLater(DAY)));
    meta.sandbox.clock().advance(DAY);
    let Next::Store(token) = next(&token.access_token).await else { panic!("not refreshed") };
    assert_eq!(token.expires_in, Some(Duration::from_secs(5_183_944)));

    let call = Some(SandboxCall::Refresh);
    let fault = |action| Fault { call, times: 1, after: 0, action, user_id: None };
    meta.sandbox.inject(fault(FaultAction::Throttle { retry_after: Some(60) }));
    meta.sandbox.inject(fault(FaultAction::Html));
    for wait in [Duration::from_mins(1), Duration::from_mins(10)] {
        assert!(matches!(next(&token.access_token).await, Next::TryLater(found) if found == wait));
    }
    meta.sandbox.revoke(ADA);
    let dead = next(&token.access_token).await;
    assert!(matches!(dead, Next::AskThePerson(ReauthorizationCause::AppRemoved)), "{dead:?}");
    let app_token = meta.app.app_token();
    assert_eq!(refresh(&meta.graph, &app_token).await.unwrap_err().kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_login_ends_without_consent_and_with_a_foreign_state() {
    let meta = Meta::start().await;
    let refused = async |visit: &dyn Fn(Url) -> Url| {
        let visit = async |url| Ok(visit(url));
        login(&meta.graph, &meta.app, &meta.redirect_uri, visit).await.unwrap_err().to_string()
    };
    let callback = |query: &str| Url::parse(&format!("https://app.example/callback?{query}")).unwrap();
    assert_eq!(refused(&|_| callback("error=access_denied")).await, "the person declined");
    assert_eq!(refused(&|_| callback("error_code=1349245")).await, "Meta failed: Some(1349245)");
    assert_eq!(refused(&|_| callback("code=a&state=s")).await, "this answers another login");
    assert!(meta.sandbox.calls().is_empty());
}
