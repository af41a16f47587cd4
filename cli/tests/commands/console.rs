//! `console`, as its operator's browser and as others meet it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use threads_sandbox::SandboxCall;

use crate::deployed::Aws;
use crate::stack::Local;
use crate::support::{DAY, HOLD, http, signal, text};

const ADA: &str = "17841400000000001";
const GRACE: &str = "17841400000000002";

/// A running console, and the cookie of the browser that opened it.
struct Console<'a> {
    local: &'a Local,
    child: Child,
    log: mpsc::Receiver<String>,
    told: Value,
    link: String,
    home: String,
    cookie: String,
}

struct Page {
    status: StatusCode,
    location: Option<String>,
    set_cookie: Option<String>,
    body: String,
}

#[expect(clippy::disallowed_methods, reason = "a test's own requests")]
async fn ask(method: Method, url: &str, headers: &[(&str, &str)], form: Option<&[(&str, &str)]>) -> Response {
    let mut request = http().inner().request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(form) = form {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
    }
    request.send().await.unwrap()
}

impl<'a> Console<'a> {
    /// Starts it, and waits until it is ready.
    fn ready(local: &'a Local, mut command: Command) -> Self {
        command.arg("--json").env("LOG_LEVEL", "trace");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pipe = BufReader::new(child.stderr.take().unwrap());
        let (send, log) = mpsc::channel();
        std::thread::spawn(move || pipe.lines().try_for_each(|line| send.send(line.unwrap())));
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let told: Value = serde_json::from_str(&first).unwrap_or_else(|_| panic!("{first}"));
        let link = text(&told, "/link").to_owned();
        let (home, cookie) = (String::new(), String::new());
        Self { local, child, log, told, link, home, cookie }
    }

    /// Starts it, and opens its link.
    fn start(local: &'a Local, arguments: &[&str]) -> Self {
        let mut console = Self::ready(local, local.command(&[&["console"], arguments].concat()));
        console.open();
        console
    }

    fn open(&mut self) {
        let page = self.get(&self.link.clone(), &[]);
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
        self.home = format!("{}{}", text(&self.told, "/url"), page.location.unwrap());
        page.set_cookie.unwrap().split_once(';').unwrap().0.clone_into(&mut self.cookie);
    }

    fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        form: Option<&[(&str, &str)]>,
    ) -> Page {
        self.local.runtime.block_on(async {
            let answer = ask(method, url, headers, form).await;
            let header = |name: &str| answer.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
            Page {
                status: answer.status(),
                location: header("location"),
                set_cookie: header("set-cookie"),
                body: answer.text().await.unwrap(),
            }
        })
    }

    fn get(&self, url: &str, headers: &[(&str, &str)]) -> Page {
        self.send(Method::GET, url, headers, None)
    }

    /// A page, as the operator's browser gets it.
    #[track_caller]
    fn page(&self, path: &str) -> String {
        let page = self.get(&format!("{}{path}", self.home), &[("cookie", &self.cookie)]);
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        page.body
    }

    /// The key of its forms.
    fn key(&self) -> String {
        let page = self.page("");
        let (_, rest) = page.split_once(r#"name="key" value=""#).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// Sends a form of a page's, and returns the page that follows.
    #[track_caller]
    fn press(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let key = self.key();
        let fields = [fields, &[("key", &key)]].concat();
        let headers = [("cookie", self.cookie.as_str())];
        let sent = self.send(Method::POST, &format!("{}{path}", self.home), &headers, Some(&fields));
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.body);
        let next = format!("{}{}", text(&self.told, "/url"), sent.location.unwrap());
        self.page(next.strip_prefix(&self.home).unwrap())
    }

    /// Ends it, and returns its log.
    fn end(self) -> String {
        signal(self.child.id(), "INT");
        self.ended()
    }

    /// Waits for its end, and returns the rest of its log.
    fn ended(mut self) -> String {
        assert!(self.child.wait().unwrap().success());
        self.log.iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Console<'_> {
    /// After a test that failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[track_caller]
fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
}

/// Takes over accounts with one command.
fn accounts(local: &Local, count: u32) -> Vec<String> {
    let tokens: Vec<_> = (1..=count).map(|n| local.token(&format!("178414{n:011}"))).collect();
    let lines: Vec<_> = tokens.iter().map(|token| format!("{{\"token\":\"{token}\"}}\n")).collect();
    local.write("all.jsonl", lines.concat());
    local.run(&["accounts", "import", "all.jsonl"]).expect(0);
    tokens
}

#[test]
fn the_console_shows_a_stack_and_no_token() {
    let local = Local::new();
    let console = Console::start(&local, &[]);
    has(&console.page("/accounts"), &["No account is connected."]);
    has(&console.page(""), &["nothing is paused", "0 accounts are due", "A development stack has none"]);
    has(&console.page("/letters"), &["Only a stack on AWS has these queues"]);
    let tokens = accounts(&local, 60);
    local.stack.clock().advance(DAY);

    let first = console.page("/accounts");
    assert_eq!(first.matches("<details").count(), 50);
    let (_, next) = first.split_once(r#"href="?q=&amp;show=all&amp;after="#).unwrap();
    let after = next.split_once('"').unwrap().0;
    let second = console.page(&format!("/accounts?after={after}"));
    assert_eq!(second.matches("<details").count(), 10);
    assert!(!second.contains("Next page"));
    for (query, count, parts) in [
        ("q=17841400000000007", 1, &["@person00007<"][..]),
        ("q=person0001", 10, &["@person00010<", "@person00019<"]),
        ("q=nobody", 0, &["None of the accounts is like that."]),
        ("show=needs_reauthorization", 0, &["None of the accounts is like that."]),
        ("show=active&q=PERSON00060", 1, &["@person00060<"]),
    ] {
        let page = console.page(&format!("/accounts?{query}"));
        has(&page, parts);
        assert_eq!(page.matches("<article").count(), count, "{query}");
    }
    let pseudonym = local.grant(ADA).unwrap().pseudonym.unwrap();
    has(&console.page(&format!("/accounts?q={}", pseudonym.as_str())), &["@person00001<"]);
    let one = console.page(&format!("/accounts/{ADA}"));
    has(&one, &["@person00001", r#"role="meter""#, "This console only looks"]);
    assert!(!one.contains("<form"), "{one}");
    has(&console.page("/accounts/1"), &["No such account"]);
    // The load was counted a minute ago, and is counted anew.
    has(&console.page(""), &["60 accounts are due in the coming 9 weeks"]);
    has(&console.page("/checks"), &["Check the stack now"]);
    let checks = console.page("/checks?run=1");
    has(&checks, &["<th scope=\"row\">keyring</th>", "nothing is paused"]);
    let everything = [first, second, one, checks, console.page("")].concat();
    for secret in tokens.iter().map(String::as_str).chain(["THQVJ", "TH|", "sandbox-app-secret"]) {
        assert!(!everything.contains(secret), "{secret} is on a page");
    }
    console.end();
}

#[test]
fn the_pages_change_what_the_commands_change() {
    let local = Local::new();
    accounts(&local, 2);
    local.stack.clock().advance(DAY + Duration::from_hours(2));
    let console = Console::start(&local, &["--write"]);
    let of = |deed: &str| format!("/accounts/{ADA}{deed}");
    has(&console.page(&of("")), &["Refresh now", "Disconnect\u{2026}", "may change things"]);
    let before = local.grant(ADA).unwrap().live().unwrap().expires_at;
    has(&console.press(&of("/refresh"), &[]), &["the token was refreshed"]);
    assert!(local.grant(ADA).unwrap().live().unwrap().expires_at > before);
    for (what, said, finding) in [
        ("sweeps", "The sweeps are paused", "sweeps are paused: no sweep refreshes anything"),
        ("verdicts", "The verdicts are paused", "verdicts are paused"),
        ("nothing", "Nothing is paused", "nothing is paused"),
    ] {
        has(&console.press("/pause", &[("what", what)]), &[said, finding]);
    }
    // A destructive change asks first, and requires the word.
    has(&console.page(&of("/disconnect")), &["Disconnect this account?", "@person00001"]);
    for confirm in ["", "no", "YES"] {
        has(&console.press(&of("/disconnect"), &[("confirm", confirm)]), &["Nothing was changed"]);
        has(&console.press(&of("/delete"), &[("confirm", confirm)]), &["Nothing was changed"]);
    }
    assert!(local.grant(ADA).unwrap().live().is_some());
    let after = console.press(&of("/disconnect"), &[("confirm", "yes")]);
    has(&after, &["is disconnected, and its token is destroyed"]);
    assert!(local.grant(ADA).unwrap().live().is_none());
    has(&console.press(&of("/refresh"), &[]), &["only its person can bring it back"]);
    has(&console.press(&of("/delete"), &[("confirm", "yes")]), &["deleted", "No such account"]);
    assert!(local.grant(ADA).is_none() && local.grant(GRACE).is_some());
    // A sentence is shown once.
    assert!(!console.page("").contains("role=\"status\""));
    console.end();
}

#[test]
fn a_change_is_made_to_its_end_whoever_goes_away() {
    let local = Local::new();
    accounts(&local, 1);
    local.stack.clock().advance(2 * DAY);
    let before = local.grant(ADA).unwrap().live().unwrap().expires_at;
    let console = Console::start(&local, &["--write"]);
    let (key, cookie) = (console.key(), console.cookie.clone());
    let url = format!("{}/accounts/{ADA}/refresh", console.home);
    let sandbox = local.stack.sandbox().unwrap();
    local.fault(SandboxCall::Refresh, 1, HOLD);
    let browser = local.runtime.spawn(async move {
        ask(Method::POST, &url, &[("cookie", &cookie)], Some(&[("key", &key)])).await;
    });
    while !sandbox.faults().is_empty() {
        std::thread::yield_now();
    }
    browser.abort();
    signal(console.child.id(), "INT");
    while !console.log.recv().unwrap().contains("Ending the change that is under way") {}
    sandbox.clear_faults();
    console.ended();
    assert!(local.grant(ADA).unwrap().live().unwrap().expires_at > before);
}

#[test]
fn the_link_opens_one_browser_once() {
    let local = Local::new();
    let mut console = Console::ready(&local, local.command(&["console"]));
    let link = console.link.clone();
    assert_eq!(console.send(Method::HEAD, &link, &[], None).status, StatusCode::FORBIDDEN);
    assert_eq!(console.get(&format!("{link}x"), &[]).status, StatusCode::FORBIDDEN);
    console.open();
    has(&console.page(""), &["Coming refreshes"]);
    for _ in 0..3 {
        let page = console.get(&link, &[]);
        assert_eq!((page.status, page.set_cookie), (StatusCode::FORBIDDEN, None));
        has(&page.body, &["This link opens nothing any more", "start it again"]);
    }
    has(&console.page("/accounts"), &["No account is connected."]);
    let (secret, cookie) =
        (link.rsplit_once('/').unwrap().1.to_owned(), console.cookie.split_once('=').unwrap().1.to_owned());
    let log = console.end();
    for secret in [secret, cookie] {
        assert!(!log.contains(&secret), "{log}");
    }
    // The link of an earlier run opens no later one.
    let later = Console::ready(&local, local.command(&["console"]));
    let secret = link.rsplit_once('/').unwrap().1;
    let page = later.get(&format!("{}/open/{secret}", text(&later.told, "/url")), &[]);
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[test]
fn threat_others_do_not_drive_the_console() {
    let local = Local::new();
    accounts(&local, 1);
    let console = Console::start(&local, &["--write"]);
    let key = console.key();
    let cookie = console.cookie.clone();
    let host = text(&console.told, "/url").strip_prefix("http://").unwrap().to_owned();
    let own = [("cookie", cookie.as_str())];
    let paths = [
        String::new(),
        "/accounts".to_owned(),
        format!("/accounts/{ADA}"),
        format!("/accounts/{ADA}/delete"),
        format!("/accounts/{ADA}/disconnect"),
        format!("/accounts/{ADA}/refresh"),
        "/pause".to_owned(),
        "/checks?run=1".to_owned(),
        "/letters".to_owned(),
    ];
    let all = [("key", key.as_str()), ("confirm", "yes"), ("what", "sweeps")];
    let (_, port) = host.rsplit_once(':').unwrap();
    let beside = format!("http://127.0.0.1:{}", port.parse::<u32>().unwrap() ^ 1);
    let mut refused = 0;
    let mut knock = |headers: &[(&str, &str)], form: &[(&str, &str)]| {
        for path in &paths {
            let url = format!("{}{path}", console.home);
            for (method, form) in [(Method::GET, None), (Method::POST, Some(form))] {
                // A read with the cookie is the operator's own.
                if method == Method::GET && headers == own {
                    continue;
                }
                let page = console.send(method.clone(), &url, headers, form);
                let is_refused =
                    matches!(page.status, StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED);
                assert!(is_refused, "{method} {url} {headers:?}: {} {}", page.status, page.body);
                assert!(!page.body.contains("person00001"));
                refused += 1;
            }
        }
    };
    // Another program of this machine, and another browser.
    knock(&[], &all);
    knock(&[("cookie", "threads_auth_console=guess")], &all);
    knock(&[("cookie", &format!("threads_auth_console={key}"))], &all);
    // Web pages in the operator's browser, which sends the cookie of its own accord.
    for foreign in [
        &[("origin", "https://evil.example")][..],
        &[("origin", beside.as_str())],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("host", "evil.example")],
        &[("host", "localhost.evil.example")],
        &[("x-forwarded-for", "203.0.113.9")],
    ] {
        knock(&[&own, foreign].concat(), &all);
    }
    // Forms that are not of the console.
    for form in [&[][..], &[("key", "")], &[("key", "guess"), ("confirm", "yes"), ("what", "sweeps")]] {
        knock(&own, form);
    }
    assert_eq!(refused, 3 * 18 + 7 * 18 + 3 * 9);
    assert!(local.grant(ADA).unwrap().live().is_some());
    has(&console.page(""), &["nothing is paused"]);
    // The cookie goes to no path of another server of this machine.
    let reader = Console::ready(&local, local.command(&["console"]));
    let set = reader.get(&reader.link, &[]).set_cookie.unwrap();
    let path = set.split("; ").find_map(|part| part.strip_prefix("Path=/")).unwrap();
    assert!(path.len() > 20 && set.contains("; HttpOnly; SameSite=Strict"), "{set}");
    // Without --write not even its own form changes anything.
    let cookie = set.split_once(';').unwrap().0;
    let url = format!("{}/{path}/pause", text(&reader.told, "/url"));
    let page = reader.send(Method::POST, &url, &[("cookie", cookie)], Some(&all));
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    has(&page.body, &["only looks"]);
}

#[test]
fn what_cloudwatch_has_is_shown_and_what_is_denied_is_said() {
    let aws = Aws::new();
    accounts(&aws.local, 3);
    let mut console = Console::ready(&aws.local, aws.command(&["console"]));
    console.open();
    let page = console.page("");
    has(
        &page,
        &[
            "Console of the stack threads-auth",
            "sweeps at rate(15 minutes)",
            "<th scope=\"row\">sweep-missed</th>",
            "1 are quiet",
            "3 accounts are due",
            // The answer of the test's CloudWatch.
            "<th scope=\"row\">Sweeps</th><td class=\"number\"><b>4</b></td>",
            "<th scope=\"row\">Longest sweep</th><td class=\"number\"><span class=\"soft\">no data</span></td>",
        ],
    );
    assert!(!page.contains("Looks: "), "no outcome occurred");
    aws.deny();
    let mut denied = Console::ready(&aws.local, aws.command(&["console"]));
    denied.open();
    has(
        &denied.page(""),
        &["cloudwatch:GetMetricData", "cloudformation:ListStackResources", "3 accounts are due"],
    );
    has(&denied.page("/accounts"), &["@person00001"]);
}

#[test]
fn a_stack_that_fails_leaves_the_console_standing() {
    let local = Local::new();
    let console = Console::start(&local, &[]);
    let client = local.dynamodb();
    let table = &local.stack.urls().grants_table;
    local.runtime.block_on(client.delete_table().table_name(table).send()).unwrap();
    has(&console.page(""), &["there is no table", "Deploy the stack again"]);
    let page = console.get(&format!("{}/accounts", console.home), &[("cookie", &console.cookie)]);
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    has(&page.body, &["The stack did not do it", "<code>threads-auth doctor</code>"]);
    has(&console.page("/checks?run=1"), &["there is no table"]);
    console.end();
}
