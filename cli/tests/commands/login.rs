//! A login, with a browser that is a client of the test's own.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use threads_sandbox::SandboxCall;
use url::Url;

use crate::support::{APP_SECRET, HANG, Running, USER, World, run, run_with, text};

/// A person's browser: it trusts the certificate with the fingerprint that the terminal shows, and
/// no other.
struct Browser {
    http: Client,
    /// The command's cookie. Cookies are for a host, whatever the port.
    cookie: Option<String>,
    runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: rustls::crypto::CryptoProvider,
}

impl Pinned {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest = ring::digest::digest(&ring::digest::SHA256, end_entity);
        let shown: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(shown.join(":"), self.fingerprint);
        // It is for this machine and for now: with itself as the root, nothing is left to complain
        // of.
        let mut roots = rustls::RootCertStore::empty();
        roots.add(end_entity.clone().into_owned()).unwrap();
        let strict = rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(self.provider.clone()),
        )
        .build()
        .unwrap();
        strict.verify_server_cert(end_entity, &[], name, &[], now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

impl Browser {
    fn trusting(fingerprint: &str) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let tls = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned {
                fingerprint: fingerprint.to_owned(),
                provider,
            }))
            .with_no_client_auth();
        Self {
            http: Client::builder()
                .tls_backend_preconfigured(tls)
                .redirect(Policy::none())
                .no_proxy()
                // Less than the command gives one connection's handshake.
                .timeout(Duration::from_secs(15))
                .build()
                .unwrap(),
            cookie: None,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn get(&self, url: &str) -> Response {
        self.get_with(url, self.cookie.as_deref(), &[])
    }

    /// The same as somebody else, who has no cookie or another.
    #[expect(clippy::disallowed_methods, reason = "a test's own requests")]
    fn get_with(&self, url: &str, cookie: Option<&str>, headers: &[(&str, &str)]) -> Response {
        let mut request = self.http.get(url);
        for (name, value) in cookie.map(|cookie| (COOKIE.as_str(), cookie)).iter().chain(headers) {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async { request.send().await }).unwrap()
    }

    /// Begins a login at the command's own address, and returns Meta's.
    fn begin(&mut self, start: &str) -> Url {
        let sent_on = self.get(start);
        let cookie = sent_on.headers()[SET_COOKIE].to_str().unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        self.cookie = Some(pair.to_owned());
        assert_eq!(sent_on.headers()["cache-control"], "no-store");
        location(&sent_on)
    }

    fn body(&self, response: Response) -> String {
        self.runtime.block_on(response.text()).unwrap()
    }

    /// Agrees or not, and returns where Meta sends the browser.
    fn consent(&self, authorize: &Url, how: &str, value: &str) -> Url {
        let mut url = authorize.clone();
        url.query_pairs_mut().append_pair(how, value);
        location(&self.get(url.as_str()))
    }
}

fn location(response: &Response) -> Url {
    assert!(response.status().is_redirection(), "{response:?}");
    let location = response.headers()[LOCATION].to_str().unwrap();
    let mut location = response.url().join(location).unwrap();
    location.set_fragment(None);
    location
}

/// A login that waits for its browser.
struct Waiting {
    running: Running,
    /// The command's own address, if it has one.
    start: Option<String>,
    authorize: Url,
    browser: Browser,
}

fn login(world: &World, more: &[&str]) -> Waiting {
    let mut arguments = vec!["login", "--no-browser"];
    arguments.extend(more);
    let mut running = Running::start(world.with_app(&arguments));
    if !more.contains(&"--port") {
        let authorize = running.line("/oauth/authorize?").trim().parse().unwrap();
        return Waiting { running, start: None, authorize, browser: Browser::trusting("") };
    }
    let start = running.line("http://127.0.0.1:").trim().to_owned();
    running.line("fingerprint is");
    let mut browser = Browser::trusting(running.line(":").trim());
    let authorize = browser.begin(&start);
    Waiting { running, start: Some(start), authorize, browser }
}

fn param(url: &Url, name: &str) -> String {
    let (_, value) = url.query_pairs().find(|(key, _)| key == name).unwrap();
    value.into_owned()
}

#[test]
fn a_browser_brings_the_code_over_https() {
    let world = World::new();
    let waiting = login(&world, &["--port", "0", "--scope", "publish", "--json"]);
    assert_eq!(param(&waiting.authorize, "scope"), "threads_basic,threads_content_publish");
    let back = waiting.browser.consent(&waiting.authorize, "auto_approve", USER);
    assert_eq!((back.scheme(), back.host_str(), back.path()), ("https", Some("127.0.0.1"), "/callback"));

    let answer = waiting.browser.get(back.as_str());
    let (code, state) = (param(&back, "code"), param(&back, "state"));
    let start = waiting.start.unwrap();
    let last = location(&answer);
    assert_eq!((last.path(), last.query()), ("/callback/agreed", None));
    for page in [answer, waiting.browser.get(last.as_str())] {
        assert_eq!(page.headers()["cache-control"], "no-store");
        assert_eq!(page.headers()["referrer-policy"], "no-referrer");
        assert!(
            page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'")
        );
    }
    let ended = waiting.running.end();
    let got = ended.json();
    assert_eq!(text(&got, "/user_id"), USER);
    ended.hides(&[&code, APP_SECRET, &state]);
    assert!(!ended.stdout.contains(&start));
    let long_lived = text(&got, "/tokens/long_lived/access_token");
    assert!(!ended.stderr.contains(long_lived));
}

#[test]
fn the_token_goes_into_the_file() {
    let world = World::new();
    world.write(".env", "# mine\nT=\n");
    let waiting = login(&world, &["--port", "0", "-p", ".env", "-v", "T"]);
    let back = waiting.browser.consent(&waiting.authorize, "auto_approve", USER);
    let last = location(&waiting.browser.get(back.as_str()));
    waiting.browser.get(last.as_str());
    let ended = waiting.running.end();
    ended.says(0, &["Updated the T variable in .env"]);
    let env = world.read(".env");
    let token = env.strip_prefix("# mine\nT=").unwrap().trim_end();
    assert!(token.starts_with("THQVJ"), "{env}");
    ended.hides(&[token]);
}

#[test]
fn what_belongs_to_another_login_is_refused_and_the_waiting_goes_on() {
    let world = World::new();
    let mut waiting = login(&world, &["--port", "0", "--json"]);
    let back = waiting.browser.consent(&waiting.authorize, "auto_approve", USER);
    let forge = |change: &dyn Fn(&str, &str) -> Option<String>| {
        let mut forged = back.clone();
        forged.query_pairs_mut().clear();
        for (name, value) in back.query_pairs() {
            if let Some(value) = change(&name, &value) {
                forged.query_pairs_mut().append_pair(&name, &value);
            }
        }
        forged
    };
    let origin = back.join("/").unwrap();
    for (address, status, said) in [
        (
            forge(&|name, value| {
                Some(if name == "state" { "x".repeat(value.len()) } else { value.to_owned() })
            }),
            400,
            "the state is not the one that was sent",
        ),
        (
            forge(&|name, value| (name != "state").then(|| value.to_owned())),
            400,
            "the parameter state is missing",
        ),
        (back.join("?error=access_denied&state=another").unwrap(), 400, "the state is not the one"),
        (Url::parse(&format!("{back}&code=twice")).unwrap(), 400, "the parameter code is repeated"),
        (back.join("?error=%3Cscript%3E&code=x&state=y").unwrap(), 400, "both a code and an error"),
        (origin.join("favicon.ico").unwrap(), 404, ""),
    ] {
        let answer = waiting.browser.get(address.as_str());
        assert_eq!(answer.status(), status, "{address}");
        let body = waiting.browser.body(answer);
        assert!(!body.contains("script") && !body.contains("another"), "{body}");
        if !said.is_empty() {
            waiting.running.line(said);
        }
    }
    assert_eq!(world.calls(SandboxCall::ExchangeCode), 0);
    // Nobody else ends it, not even with a code and this login's state, or a denial.
    let denied = back.join("?error=access_denied").unwrap();
    let failed = back.join("?error_code=1349245&error_message=x").unwrap();
    for address in [&back, &denied, &failed] {
        for cookie in [None, Some("threads-auth-login=another"), Some("threads-auth-login=")] {
            let answer = waiting.browser.get_with(address.as_str(), cookie, &[]);
            assert_eq!(answer.status(), 400, "{address}");
            waiting.running.line("it is not from the browser in which this login began");
        }
    }
    assert_eq!(world.calls(SandboxCall::ExchangeCode), 0);
    // The right one still gets through, and only once.
    let last = location(&waiting.browser.get(back.as_str()));
    waiting.browser.get(last.as_str());
    let ended = waiting.running.end();
    ended.json();
    ended.hides(&[&param(&back, "code")]);
    assert_eq!(world.calls(SandboxCall::ExchangeCode), 1);
}

#[test]
fn a_connection_that_says_nothing_keeps_nobody_waiting() {
    let world = World::new();
    let waiting = login(&world, &["--port", "0", "--json"]);
    let back = waiting.browser.consent(&waiting.authorize, "auto_approve", USER);
    let address = (back.host_str().unwrap(), back.port().unwrap());
    let idle: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let last = location(&waiting.browser.get(back.as_str()));
    waiting.browser.get(last.as_str());
    waiting.running.end().json();
    drop(idle);
}

#[test]
fn a_person_who_does_not_agree_is_told_apart() {
    let world = World::new();
    let waiting = login(&world, &["--port", "0", "--json"]);
    // Meta's denial comes without the state.
    let back = waiting.browser.consent(&waiting.authorize, "auto_deny", "1");
    let last = location(&waiting.browser.get(back.as_str()));
    assert_eq!(last.path(), "/callback/denied");
    waiting.browser.get(last.as_str());
    let ended = waiting.running.end();
    assert_eq!(ended.failure(3)["error"]["kind"], "unauthorized");
    ended.says(3, &["the person did not agree"]);
}

#[test]
fn a_failure_of_metas_is_no_denial() {
    let world = World::new();
    for (query, said) in [
        (
            "?error_code=1349168&error_message=CANARY&state=",
            "error 1349168: the redirect URI is not the registered",
        ),
        ("?error_code=1349245&error_message=CANARY&state=", "Threads Testers"),
        ("?error=server_error&error_description=CANARY&state=", "Meta ended the login"),
    ] {
        let waiting = login(&world, &["--port", "0", "--json"]);
        let back = param(&waiting.authorize, "redirect_uri");
        let state = param(&waiting.authorize, "state");
        let last = location(&waiting.browser.get(&format!("{back}{query}{state}")));
        assert_eq!(last.path(), "/callback/failed");
        let page = waiting.browser.get(last.as_str());
        assert!(!waiting.browser.body(page).contains("did not agree"));
        let ended = waiting.running.end();
        assert_eq!(ended.failure(1)["error"]["kind"], "failed");
        ended.says(1, &["Meta ended the login", said]).hides(&["CANARY"]);
        assert!(!ended.stderr.contains("did not agree"), "{ended:?}");
    }
}

#[test]
fn an_address_can_be_pasted() {
    type Way = fn(&Url) -> String;
    let world = World::new();
    let uri = "https://elsewhere.example/callback";
    let ways: [(bool, Way); 7] = [
        (false, |back| format!("{back}#_")),
        (false, |back| format!("{back}#_=_")),
        (false, |back| format!("{back}%23_")),
        (false, |back| format!("{back}%23_%3D_")),
        (true, |back| param(back, "code")),
        (true, |back| format!("{}#_=_", param(back, "code"))),
        // The whole address, as far as it goes.
        (true, |back| format!("https://elsewhere.example/callback?code={}#_", param(back, "code"))),
    ];
    for (alone, way) in ways {
        let mut waiting = login(&world, &["--redirect-uri", uri, "--json"]);
        let back = waiting.browser.consent(&waiting.authorize, "auto_approve", USER);
        let pasted = way(&back);
        writeln(&mut waiting.running, &format!("\n{pasted}\n"));
        let ended = waiting.running.end();
        ended.json();
        assert_eq!(ended.stderr.contains("does not show which login it belongs to"), alone, "{pasted}");
    }
    for (paste, code, said) in [
        ("https://elsewhere.example/callback?code=x&state=y", 2, "it belongs to another login"),
        ("https://elsewhere.example/", 2, "the parameter code is missing"),
        ("https://elsewhere.example/?error=access_denied", 3, "the person did not agree"),
        (
            "https://elsewhere.example/?error_code=1349168&error_message=x",
            1,
            "ended the login with error 1349168",
        ),
        ("https://elsewhere.example/?error_code=1&state=y", 2, "it belongs to another login"),
        ("", 2, "nothing was pasted"),
    ] {
        let command = world.with_app(&["login", "--no-browser", "--paste"]);
        run_with(command, paste).says(code, &[said]);
    }
    assert_eq!(world.calls(SandboxCall::ExchangeCode), ways.len());
}

#[test]
fn a_login_begins_once() {
    let world = World::new();
    let mut running = Running::start(world.with_app(&["login", "--no-browser", "--port", "0", "--json"]));
    let start = running.line("http://127.0.0.1:").trim().to_owned();
    running.line("fingerprint is");
    let mut browser = Browser::trusting(running.line(":").trim());
    // A prefetch is not a visit, and a guessed address finds nothing.
    for header in [("sec-purpose", "prefetch"), ("purpose", "preview"), ("x-moz", "prefetch")] {
        let ahead = browser.get_with(&start, None, &[header]);
        assert_eq!((ahead.status().as_u16(), ahead.headers().get(SET_COOKIE)), (503, None));
    }
    let guess = browser.get_with(&format!("{start}x"), None, &[]);
    assert_eq!((guess.status().as_u16(), guess.headers().get(SET_COOKIE)), (404, None));
    let authorize = browser.begin(&start);
    for cookie in [None, Some("threads-auth-login=another")] {
        let second = browser.get_with(&start, cookie, &[]);
        assert_eq!((second.status().as_u16(), second.headers().get(SET_COOKIE)), (410, None));
        assert!(second.headers().get(LOCATION).is_none());
    }
    // The same browser may reload it.
    assert_eq!(browser.begin(&start), authorize);
    let back = browser.consent(&authorize, "auto_approve", USER);
    let last = location(&browser.get(back.as_str()));
    browser.get(last.as_str());
    running.end().json();
}

#[test]
fn the_browser_is_opened() {
    let world = World::new();
    let opened = world.path("opened");
    let fifo = Command::new("mkfifo").arg(&opened).status();
    assert!(fifo.unwrap().success());
    // Written by another process: a program that this one has open for writing cannot be run, and
    // every command that another test starts meanwhile has it open for a moment, too.
    let script = world.path("browser");
    let written = Command::new("sh")
        .args(["-c", r#"printf '#!/bin/sh\nprintf %%s "$1" > opened\n' > "$0" && chmod +x "$0""#])
        .arg(&script)
        .status();
    assert!(written.unwrap().success());
    for arguments in [&["login", "--paste"][..], &["login", "--port", "0"]] {
        let mut command = world.with_app(arguments);
        command.env("BROWSER", &script);
        let mut running = Running::start(command);
        let shown = running.line("http://127.0.0.1:").trim().to_owned();
        let (read, opened_at) = std::sync::mpsc::channel();
        let opened = opened.clone();
        std::thread::spawn(move || read.send(std::fs::read_to_string(opened).unwrap()));
        // Everybody on the machine can read a program's arguments.
        let told = opened_at.recv_timeout(HANG).unwrap();
        let authorize = Browser::trusting("").begin(&told);
        let state = param(&authorize, "state");
        assert!(!told.contains(&state) && told.starts_with("http://127.0.0.1:"), "{told}");
        let uri = param(&authorize, "redirect_uri");
        if arguments.contains(&"--paste") {
            // The person may take Meta's own address elsewhere.
            assert_eq!(shown, authorize.as_str());
            assert_eq!(uri, "https://127.0.0.1:8080/callback");
        } else {
            assert_eq!(shown, told);
        }
        running.end_by("TERM").expect(143);
    }
}

#[test]
fn what_cannot_work_is_said_before_the_browser_opens() {
    let world = World::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let try_login = |more: &[&str]| {
        let mut arguments = vec!["login", "--no-browser"];
        arguments.extend(more);
        let ended = run(world.with_app(&arguments));
        assert!(!ended.stderr.contains("Log in to Threads"), "{ended:?}");
        ended
    };
    try_login(&["--port", &port]).says(1, &[&format!("cannot listen on port {port}"), "--paste"]);
    try_login(&["--paste", "-p", "none/.env", "-v", "T"]).says(1, &["Meta was not called"]);
    try_login(&["--paste", "--scope", "everything"]).says(2, &["unknown scope", "`all`", "`publish`"]);
    try_login(&["--paste", "--scope", "TH|123|5ecret"]).says(2, &["TH|(redacted)"]).hides(&["5ecret"]);
    try_login(&["--redirect-uri", "http://app.example/"]).says(2, &["must be https"]);
    try_login(&["--redirect-uri", "app.example"]).says(2, &["absolute http or https URL"]);
    try_login(&["--port", "1", "--redirect-uri", "https://a.example/"]).says(2, &["cannot be used with"]);
    let ended = run(world.command(&["login", "--paste"]));
    ended.says(2, &["--app-id is missing"]);
}

#[test]
fn nobody_is_waited_for_without_end() {
    let world = World::new();
    let ended = run(world.with_app(&["login", "--no-browser", "--port", "0", "--wait", "1s", "--json"]));
    ended.says(3, &["no answer arrived in time"]);
    assert_eq!(ended.failure(3)["error"]["kind"], "unauthorized");
    run(world.with_app(&["login", "--wait", "0s"])).says(2, &["at least a second"]);
}

#[test]
fn plain_http_is_for_the_sandbox_only() {
    let world = World::new();
    // A free port, at an address at which no other test takes one in the meantime.
    let port = TcpListener::bind(("127.0.0.2", 0)).unwrap().local_addr().unwrap().port();
    let uri = format!("http://127.0.0.2:{port}/back");
    let mut running =
        Running::start(world.with_app(&["login", "--no-browser", "--redirect-uri", &uri, "--json"]));
    running.line("Meta refuses redirect URIs of plain http");
    let start = running.line("http://127.0.0.2:").trim().to_owned();
    let mut browser = Browser::trusting("");
    let authorize = browser.begin(&start);
    let back = browser.consent(&authorize, "auto_approve", USER);
    let last = location(&browser.get(back.as_str()));
    browser.get(last.as_str());
    running.end().json();
}

fn writeln(running: &mut Running, text: &str) {
    use std::io::Write;
    running.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
}
