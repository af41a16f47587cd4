//! Every call against a server on this machine: the request, the reading of each answer, and that
//! no failure shows a secret.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing_subscriber::fmt::MakeWriter;

use crate::*;

const TOKEN: &str = "CANARYtoken|x&y=%00";
const SECRET: &str = "CANARYsecret+/";
const CODE: &str = "CANARYcode#_";
/// The calls that [`make`] supports.
const CALLS: usize = 9;

fn graph(address: std::net::SocketAddr, timeouts: HttpTimeouts) -> Graph {
    let root = format!("http://{address}");
    Graph::new(
        HttpClient::new(timeouts).unwrap(),
        Endpoints::new(format!("{root}/oauth/authorize"), root, "v1.0").unwrap(),
    )
}

fn app() -> AppCredentials {
    AppCredentials { app_id: "123".parse().unwrap(), app_secret: AppSecret::new(SECRET).unwrap() }
}

fn token() -> AccessToken {
    AccessToken::new(TOKEN).unwrap()
}

fn redirect() -> RedirectUri {
    "https://app.example/cb?a=b&c".parse().unwrap()
}

/// A result that no failure can equal.
type Figures = BTreeMap<String, u8>;

/// Makes one call, and formats its result.
async fn make(call: usize, graph: &Graph) -> Option<Result<String, Error>> {
    fn show<T: std::fmt::Debug>(result: Result<T, Error>) -> Result<String, Error> {
        result.map(|value| format!("{value:?}"))
    }
    let code = AuthorizationCode::new(CODE).unwrap();
    Some(match call {
        0 => show(graph.exchange_code(&app(), &code, &redirect()).await),
        1 => show(graph.exchange_long_lived(&app().app_secret, &token()).await),
        2 => show(graph.refresh(&token()).await),
        3 => show(graph.me(&token()).await),
        4 => show(graph.debug_token(&token(), &token()).await),
        5 => show(graph.app_token(&app()).await),
        6 => show(graph.get::<Figures>("me/threads", &token(), &[("limit", "5")]).await),
        7 => show(graph.post::<Figures>("me/threads_publish", &token(), &[("text", "CANARY")]).await),
        8 => show(graph.delete::<Figures>("CANARY", &token(), &[]).await),
        _ => return None,
    })
}

// Requests, and the reading of answers.

/// Method, path, and the form in its query or body.
type Request = (String, String, BTreeMap<String, String>);

/// One answer for everything, and a record of each request.
#[derive(Clone, Default)]
struct Recorded {
    /// A text is sent as it is.
    answer: Arc<Mutex<(u16, Value)>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorded {
    async fn start() -> (Self, Graph) {
        async fn handle(
            State(state): State<Recorded>,
            method: Method,
            uri: Uri,
            headers: HeaderMap,
            body: Bytes,
        ) -> (StatusCode, String) {
            let form = if method == Method::POST {
                assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
                assert_eq!(uri.query(), None);
                body.to_vec()
            } else {
                uri.query().unwrap_or_default().as_bytes().to_vec()
            };
            let form = url::form_urlencoded::parse(&form).into_owned().collect();
            state.requests.lock().unwrap().push((method.to_string(), uri.path().to_owned(), form));
            let (status, answer) = state.answer.lock().unwrap().clone();
            let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
            (StatusCode::from_u16(status).unwrap(), answer)
        }
        let state = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(handle).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (state, graph(address, HttpTimeouts::default()))
    }

    fn answers(&self, status: u16, answer: Value) {
        *self.answer.lock().unwrap() = (status, answer);
    }

    fn assert_last(&self, method: &str, path: &str, form: &[(&str, &str)]) {
        let form: BTreeMap<_, _> = form.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let requests = self.requests.lock().unwrap();
        assert_eq!(requests.last(), Some(&(method.to_owned(), path.to_owned(), form)));
    }
}

#[tokio::test]
async fn the_token_calls_send_and_read_what_meta_documents() {
    let (server, graph) = Recorded::start().await;

    for id in [json!(17_841_405_793_187_218_u64), json!("17841405793187218")] {
        server.answers(200, json!({"access_token": "THQ|new", "user_id": id}));
        let code = AuthorizationCode::new(CODE).unwrap();
        let short = graph.exchange_code(&app(), &code, &redirect()).await.unwrap();
        assert_eq!(short.access_token.expose(), "THQ|new");
        assert_eq!(short.user_id.as_ref().map(UserId::as_str), Some("17841405793187218"));
    }
    server.assert_last(
        "POST",
        "/oauth/access_token",
        &[
            ("client_id", "123"),
            ("client_secret", SECRET),
            ("code", CODE),
            ("grant_type", "authorization_code"),
            ("redirect_uri", "https://app.example/cb?a=b&c"),
        ],
    );

    for lifetime in [json!(5_183_944), json!("5183944")] {
        server
            .answers(200, json!({"access_token": "THQlong", "token_type": "bearer", "expires_in": lifetime}));
        let long = graph.exchange_long_lived(&app().app_secret, &token()).await.unwrap();
        assert_eq!(
            (long.access_token.expose(), long.expires_in),
            ("THQlong", Some(Duration::from_secs(5_183_944)))
        );
    }
    server.assert_last(
        "GET",
        "/access_token",
        &[("access_token", TOKEN), ("client_secret", SECRET), ("grant_type", "th_exchange_token")],
    );

    let long = graph.refresh(&token()).await.unwrap();
    assert_eq!(long.expires_in, Some(Duration::from_secs(5_183_944)));
    server.assert_last(
        "GET",
        "/refresh_access_token",
        &[("access_token", TOKEN), ("grant_type", "th_refresh_token")],
    );

    server.answers(200, json!({"access_token": "TH|123|x", "token_type": "bearer"}));
    assert_eq!(graph.app_token(&app()).await.unwrap().expose(), "TH|123|x");
    server.assert_last(
        "GET",
        "/oauth/access_token",
        &[("client_id", "123"), ("client_secret", SECRET), ("grant_type", "client_credentials")],
    );
}

/// The example of each known error, over the wire.
#[tokio::test]
async fn each_known_error_is_what_its_row_says() {
    let (server, graph) = Recorded::start().await;
    for row in KNOWN_ERRORS {
        let Example { call, status, body } = row.example;
        server.answers(status, body.into());
        let index = match call {
            Call::ExchangeCode => 0,
            Call::ExchangeLongLived => 1,
            Call::Refresh => 2,
            Call::Me => 3,
            Call::DebugToken => 4,
            Call::AppToken => 5,
            Call::Other => 6,
            Call::AuthorizationPage => {
                let page = graph.authorization_url(
                    &app().app_id,
                    &redirect(),
                    &Scopes::default(),
                    &crate::State::random().unwrap(),
                );
                let refusal = graph.authorization_page(page).await.unwrap().unwrap();
                let dialog = DialogError::from_code(refusal.code);
                assert_eq!(dialog, row.dialog, "{body}");
                let problem = dialog.map_or(ConfigurationProblem::Other, DialogError::problem);
                assert_eq!(ErrorKind::Configuration(problem), row.kind, "{body}");
                continue;
            }
        };
        let error = make(index, &graph).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), row.kind, "{call} {status} {body}");
    }
}

#[tokio::test]
async fn the_profile_and_the_facts_about_a_token_are_read_liberally() {
    let (server, graph) = Recorded::start().await;

    server.answers(200, json!({"id": "1", "username": "zuck"}));
    let profile = graph.me(&token()).await.unwrap();
    assert_eq!(profile.id.as_str(), "1");
    assert_eq!(profile.username.as_deref(), Some("zuck"));
    server.assert_last("GET", "/v1.0/me", &[("access_token", TOKEN), ("fields", "id,username")]);
    server.answers(200, json!({"id": 9_007_199_254_740_993_u64, "username": "a\u{202e}b"}));
    let profile = graph.me(&token()).await.unwrap();
    assert_eq!((profile.id.as_str(), profile.username), ("9007199254740993", None));

    server.answers(
        200,
        json!({"data": {
            "type": "USER", "application": "x", "is_valid": true, "user_id": "17841405793187218",
            "issued_at": 1_760_000_000, "expires_at": "1765183944", "data_access_expires_at": 0,
            "scopes": ["threads_basic", "threads_delete", "threads_new_thing", "<b>"],
        }}),
    );
    let info = graph.debug_token(&token(), &token()).await.unwrap();
    assert!(info.is_valid);
    assert_eq!(info.user_id.as_ref().map(UserId::as_str), Some("17841405793187218"));
    assert_eq!(info.issued_at.map(jiff::Timestamp::as_second), Some(1_760_000_000));
    assert_eq!(info.expires_at.map(jiff::Timestamp::as_second), Some(1_765_183_944));
    assert_eq!(info.data_access_expires_at, None);
    assert_eq!(info.scopes, ["threads_basic", "threads_delete", "threads_new_thing", "<b>"]);
    assert_eq!(info.granted().to_string(), "threads_basic,threads_delete,threads_new_thing");
    server.assert_last("GET", "/v1.0/debug_token", &[("access_token", TOKEN), ("input_token", TOKEN)]);

    server.answers(200, json!({"data": {"is_valid": false, "error": {"code": 190}, "scopes": []}}));
    let info = graph.debug_token(&token(), &token()).await.unwrap();
    assert_eq!((info.is_valid, info.user_id, info.expires_at), (false, None, None));
}

#[tokio::test]
async fn a_success_that_lacks_something_is_malformed_and_never_a_dead_token() {
    let (server, graph) = Recorded::start().await;
    for answer in [
        json!({}),
        json!({"access_token": "", "user_id": 1, "expires_in": 1, "id": "x", "data": {"is_valid": "yes"}}),
        json!({"access_token": "a b", "user_id": 1, "expires_in": 1, "id": 0, "data": {}}),
        json!({"access_token": 7, "user_id": 1, "expires_in": 1, "id": "000", "data": []}),
        json!({"access_token": null, "data": [{"expires_in": 5}]}),
        // Two tokens: neither is ours for certain.
        json!({"data": [{"access_token": "THQ", "id": "1"}, {"access_token": "THQ", "id": "2"}]}),
        json!({"data": [[{"access_token": "THQ", "id": "1"}]]}),
        json!({"data": "THQ"}),
    ] {
        server.answers(200, answer.clone());
        for call in 0..6 {
            let error = make(call, &graph).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{call} {answer}");
            assert_eq!(error.status(), Some(200));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let (server, graph) = Recorded::start().await;
    for (length, is_read) in [(60_000, true), (70_000, false)] {
        server.answers(200, json!({"access_token": "THQ", "id": "1", "beside": "x".repeat(length)}));
        assert_eq!(graph.refresh(&AccessToken::new("THQ").unwrap()).await.is_ok(), is_read, "{length}");
    }
}

#[tokio::test]
async fn a_token_is_taken_whatever_stands_beside_it() {
    let (server, graph) = Recorded::start().await;
    let code = AuthorizationCode::new(CODE).unwrap();
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    for (expires_in, expected) in [
        (json!(5_184_000), days(60)),
        (json!(5_184_000.0), days(60)),
        (json!(5_183_944.5), Some(Duration::from_secs(5_183_944))),
        (json!("5184000"), days(60)),
        (json!(864_000), days(10)),
        (json!(1), Some(Duration::from_secs(1))),
        (json!(11_u64 * 31_536_000), days(11 * 365)),
        (json!(5_184_000_000_u64), None),
        (json!(1e30), None),
        (json!(0), None),
        (json!(-5), None),
        (json!(null), None),
        (json!("soon"), None),
        (json!([]), None),
    ] {
        server.answers(200, json!({"access_token": "THQ", "token_type": "bearer", "expires_in": expires_in}));
        for long in [
            graph.refresh(&token()).await.unwrap(),
            graph.exchange_long_lived(&app().app_secret, &token()).await.unwrap(),
        ] {
            assert_eq!((long.access_token.expose(), long.expires_in), ("THQ", expected), "{expires_in}");
        }
    }
    for (user_id, expected) in [
        (json!(17_841_600_000_000_001_u64), Some("17841600000000001")),
        (json!("17841600000000001"), Some("17841600000000001")),
        (json!(0), None),
        (json!("0"), None),
        (json!("000"), None),
        (json!(null), None),
        (json!(-1), None),
        (json!(1.5), None),
        (json!(""), None),
        (json!("ada"), None),
        (json!({}), None),
    ] {
        server.answers(200, json!({"access_token": "SHORT", "user_id": user_id}));
        let short = graph.exchange_code(&app(), &code, &redirect()).await.unwrap();
        let told = short.user_id.as_ref().map(UserId::as_str);
        assert_eq!((short.access_token.expose(), told), ("SHORT", expected), "{user_id}");
    }

    // Neither of them, and both in a wrapper.
    let fields =
        json!({"access_token": "THQ", "user_id": "7", "permissions": "threads_basic", "expires_in": 60});
    for (answer, is_bare) in [
        (json!({"access_token": "THQ"}), true),
        (json!({"access_token": "THQ", "data": null}), true),
        (json!({"access_token": "THQ", "data": []}), true),
        (json!({"data": [fields]}), false),
        (json!({"data": fields}), false),
    ] {
        server.answers(200, answer.clone());
        let short = graph.exchange_code(&app(), &code, &redirect()).await.unwrap();
        assert_eq!((short.access_token.expose(), short.user_id.is_none()), ("THQ", is_bare), "{answer}");
        for long in [
            graph.refresh(&token()).await.unwrap(),
            graph.exchange_long_lived(&app().app_secret, &token()).await.unwrap(),
        ] {
            assert_eq!((long.access_token.expose(), long.expires_in.is_none()), ("THQ", is_bare), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_path_is_called_with_the_token_and_cannot_leave_its_place() {
    let (server, graph) = Recorded::start().await;
    server.answers(200, json!({"data": [{"id": "1"}]}));
    for (path, expected) in [
        ("me/threads", "/v1.0/me/threads"),
        ("/me//threads/", "/v1.0/me/threads"),
        ("17841405793187218/threads_insights", "/v1.0/17841405793187218/threads_insights"),
        ("../access_token", "/v1.0/access_token"),
        ("me/./..", "/v1.0/me"),
        (".\t./access_token", "/v1.0/access_token"),
        (".\r\n./access_token", "/v1.0/access_token"),
        ("%2e%2e/me", "/v1.0/%252e%252e/me"),
        ("me?fields=x#y", "/v1.0/me%3Ffields=x%23y"),
        ("http://evil.example/me", "/v1.0/http:/evil.example/me"),
    ] {
        let params = [("access_token", "mine"), ("text", "a&access_token=b")];
        let sent = [("access_token", TOKEN), ("text", "a&access_token=b")];
        let answer: Value = graph.get(path, &token(), &params).await.unwrap();
        assert_eq!(answer["data"][0]["id"], "1");
        server.assert_last("GET", expected, &sent);
        graph.post::<Value>(path, &token(), &params).await.unwrap();
        server.assert_last("POST", expected, &sent);
        graph.delete::<Value>(path, &token(), &params).await.unwrap();
        server.assert_last("DELETE", expected, &sent);
    }
    for (status, answer, expected) in [
        (200, json!({"id": 1}), ErrorKind::Malformed),
        (200, json!({"error": {"code": 10}}), ErrorKind::Permission),
        (400, json!({"error": {"code": 100}}), ErrorKind::Rejected),
        (
            400,
            json!({"error": {"code": 190}}),
            ErrorKind::NeedsReauthorization(ReauthorizationCause::Invalid),
        ),
        (500, json!({}), ErrorKind::Transient),
    ] {
        server.answers(status, answer);
        let refused = graph.get::<BTreeMap<String, String>>("1", &token(), &[]).await;
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.call()), (expected, Call::Other));
    }
}

#[tokio::test]
async fn the_authorization_page_is_read_for_its_error() {
    let (server, graph) = Recorded::start().await;
    let url = || {
        let (app_id, scopes, state) = (app().app_id, Scopes::default(), crate::State::random().unwrap());
        graph.authorization_url(&app_id, &redirect(), &scopes, &state)
    };
    for (status, body, expected) in [
        (400, json!({"error_message": "URL blocked", "error_code": 1_349_168}), Some(1_349_168)),
        (200, json!({"error_message": "x", "error_code": "7"}), Some(7)),
        (200, json!("<html>Log in</html>"), None),
        (302, json!(""), None),
    ] {
        server.answers(status, body);
        let page = graph.authorization_page(url()).await.unwrap();
        assert_eq!(page.map(|refusal| refusal.code), expected, "{status}");
    }
    server.answers(503, json!({"error_code": 1_349_168}));
    let error = graph.authorization_page(url()).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Transient, Some(503)));
}

#[tokio::test]
async fn a_client_of_the_callers_own_is_used() {
    let (server, graph) = Recorded::start().await;
    server.answers(200, json!({"id": "1"}));
    let theirs = HttpClient::new(HttpTimeouts::default()).unwrap().inner().clone();
    let graph = Graph::new(HttpClient::from_client(theirs), graph.endpoints().clone());
    assert_eq!(graph.me(&token()).await.unwrap().id.as_str(), "1");
    server.assert_last("GET", "/v1.0/me", &[("access_token", TOKEN), ("fields", "id,username")]);
}

// No failure shows a secret.

/// The hostile server's answer. It repeats the whole request, secrets and all, wherever it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hostile {
    Drop,
    Silence,
    Garbage,
    Redirect,
    Moved,
    MovedToASecret,
    Html,
    HtmlServerError,
    Empty,
    TruncatedJson,
    TruncatedBody,
    TruncatedThrottle,
    Endless,
    NotAnObject,
    ErrorUnder200,
    DeadToken,
    ServerErrorThatSaysDead,
    Throttled,
    Refused,
    EchoedSuccess,
}

const HOSTILE: [(Hostile, &str); 20] = [
    (Hostile::Drop, "transient"),
    (Hostile::Silence, "transient"),
    (Hostile::Garbage, "transient"),
    (Hostile::Redirect, "transient"),
    (Hostile::Moved, "configuration"),
    (Hostile::MovedToASecret, "configuration"),
    (Hostile::Html, "transient"),
    (Hostile::HtmlServerError, "transient"),
    (Hostile::Empty, "transient"),
    (Hostile::TruncatedJson, "transient"),
    (Hostile::TruncatedBody, "transient"),
    (Hostile::TruncatedThrottle, "throttled"),
    (Hostile::Endless, "transient"),
    (Hostile::NotAnObject, "transient"),
    (Hostile::ErrorUnder200, "needs_reauthorization"),
    (Hostile::DeadToken, "needs_reauthorization"),
    (Hostile::ServerErrorThatSaysDead, "transient"),
    (Hostile::Throttled, "throttled"),
    (Hostile::Refused, "rejected"),
    (Hostile::EchoedSuccess, "malformed"),
];

async fn serve(mut stream: TcpStream, hostile: Hostile) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                break;
            }
        }
        if read == 0 {
            return Ok(());
        }
    }
    // None of these may disclose this: the request itself, and the secrets in clear.
    let echo = format!("{} {TOKEN} {SECRET} {CODE}", String::from_utf8_lossy(&request));
    // A piece of the sent values that could be a trace id.
    let trace_id: String = echo[echo.find("CANARY").unwrap_or_default()..]
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    let error = |code: u64, message: &str| {
        json!({"error": {
            "message": message, "type": TOKEN, "code": code, "error_subcode": 460,
            "error_user_msg": echo, "fbtrace_id": trace_id,
        }})
        .to_string()
    };
    let dead = error(190, &echo);
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let cut = |answer: String| answer[..answer.len() - 20].to_owned();
    let text = match hostile {
        Hostile::Drop => return Ok(()),
        Hostile::Silence => {
            // Until the client gives up and hangs up.
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(());
        }
        Hostile::Garbage => format!("{TOKEN} {SECRET}\r\n\r\n"),
        Hostile::Redirect => answer(&format!("302 Found\r\nlocation: /?stolen={SECRET}"), ""),
        Hostile::Moved => answer(
            &format!("301 Moved Permanently\r\nlocation: https://graph.example/{CODE}?access_token={SECRET}"),
            &dead,
        ),
        Hostile::MovedToASecret => {
            answer("308 Permanent Redirect\r\nlocation: https://a.CANARYtoken.example/", &dead)
        }
        Hostile::Html => answer("400 Bad Request", &format!("<html>{echo}</html>")),
        Hostile::HtmlServerError => answer("502 Bad Gateway", &format!("<html>{echo}</html>")),
        Hostile::Empty => answer("400 Bad Request", ""),
        Hostile::TruncatedJson => answer("200 OK", &dead[..dead.len() - 3]),
        Hostile::TruncatedBody => cut(answer("400 Bad Request", &dead)),
        Hostile::TruncatedThrottle => cut(answer("429 Too Many Requests", &dead)),
        Hostile::Endless => answer("200 OK", &format!("\"{}", echo.repeat(20_000))),
        Hostile::NotAnObject => answer("200 OK", &json!([echo]).to_string()),
        Hostile::ErrorUnder200 => answer("200 OK", &dead),
        Hostile::DeadToken => answer("400 Bad Request", &dead),
        Hostile::ServerErrorThatSaysDead => answer("500 Internal Server Error", &dead),
        Hostile::Throttled => answer("429 Too Many Requests\r\nretry-after: 60", &dead),
        Hostile::Refused => answer("403 Forbidden", &error(7, TOKEN)),
        Hostile::EchoedSuccess => answer(
            "200 OK",
            &json!({"access_token": [TOKEN], "user_id": TOKEN, "expires_in": SECRET, "id": CODE, "data": TOKEN})
                .to_string(),
        ),
    };
    // The client may hang up before it has read all of an endless answer.
    let _ = stream.write_all(text.as_bytes()).await;
    Ok(())
}

/// The API at a hostile server, and the number of connections to it.
async fn start_hostile(hostile: Hostile) -> (Graph, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, hostile));
        }
    });
    let mut timeouts = HttpTimeouts::default();
    if hostile == Hostile::Silence {
        timeouts.request = Duration::from_secs(2);
    }
    (graph(address, timeouts), connections)
}

/// Everything that was traced, by this crate and by those below it.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<u8>>>);

impl io::Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Trace {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_failure_of_any_call_shows_a_secret() {
    let trace = Trace::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(trace.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let mut shown = String::new();
    let mut failures = 0;
    for (hostile, expected) in HOSTILE {
        let (graph, connections) = start_hostile(hostile).await;
        // The calls run concurrently, so that a silent server costs the time of one.
        let mut calls = JoinSet::new();
        for call in 0..CALLS {
            let graph = graph.clone();
            calls.spawn(async move { make(call, &graph).await.unwrap() });
        }
        for result in calls.join_all().await {
            let error = result.unwrap_err();
            assert_eq!(error.kind().class().as_str(), expected, "{hostile:?} {error:?}");
            let _ = write!(shown, "{error} {error:?} {error:#?} ");
            let mut source = error.source();
            while let Some(cause) = source {
                let _ = write!(shown, "{cause} {cause:?} ");
                source = cause.source();
            }
            failures += 1;
        }
        // Each answer closes its connection, so this counts requests: nothing is retried, and no
        // redirect is followed.
        assert_eq!(connections.load(Ordering::SeqCst), CALLS, "{hostile:?}");
        // `tracing` caches for each callsite, and for all threads, that nobody listens. A thread of
        // another test may have cached that.
        tracing::callsite::rebuild_interest_cache();
    }
    assert_eq!(failures, HOSTILE.len() * CALLS);

    let traced = String::from_utf8(trace.0.lock().unwrap().clone()).unwrap();
    // Both have something in them, so that their silence means something.
    assert!(shown.contains("code 190, subcode 460") && shown.contains("reqwest::Error"));
    assert!(shown.contains("refresh: Meta has moved: it redirects to the host graph.example (HTTP 301"));
    assert!(
        traced.contains("threads_graph")
            && traced.contains("status=429")
            && traced.contains("exchange_long_lived")
    );
    for canary in ["CANARY", "access_token=", "client_secret", "stolen", "<html>"] {
        assert!(!shown.contains(canary), "{canary} is in an error");
        assert!(!traced.contains(canary), "{canary} is in the trace");
    }
}

#[tokio::test]
async fn no_success_shows_a_secret() {
    let (server, graph) = Recorded::start().await;
    server.answers(
        200,
        json!({"access_token": "CANARYnew", "user_id": 1, "expires_in": 60, "id": "1", "data": {"is_valid": true}}),
    );
    for call in 0..6 {
        let shown = make(call, &graph).await.unwrap().unwrap();
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[tokio::test]
async fn nobody_listening_is_transient() {
    let graph = graph("127.0.0.1:9".parse().unwrap(), HttpTimeouts::default());
    let mut call = 0;
    while let Some(result) = make(call, &graph).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Transient, None));
        assert!(!format!("{error:?}").contains("CANARY"));
        call += 1;
    }
}

#[tokio::test]
async fn a_retry_after_is_passed_on() {
    let (graph, _) = start_hostile(Hostile::Throttled).await;
    let error = graph.refresh(&token()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled { retry_after: Some(Duration::from_mins(1)) });
    assert_eq!((error.status(), error.trace_id()), (Some(429), None));
}
