//! The signature of a request to a route of the backend: the rest of the path with its query, and
//! headers, one a line. `@key`, `@day` and `@date` stand for those that a genuine one would have.
//!
//! Nobody can make the signature itself by chance, so each of these requests is refused.

use devstack::{Clock, Stack, StackOptions};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::text::lines;

const NOW: i64 = 1_760_000_000;

pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static STACK: (Runtime, Stack) = {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let clock = Some(Clock::frozen(Timestamp::from_second(NOW).unwrap()));
            let stack = runtime.block_on(Stack::start(StackOptions { clock, ..StackOptions::default() })).unwrap();
            (runtime, stack)
        };
    }
    let Some(([target], headers)) = lines::<1>(data) else { return };
    STACK.with(|(runtime, stack)| {
        let urls = stack.urls();
        let address = urls.service_url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let now = Timestamp::from_second(NOW).unwrap();
        let mut request = format!("GET /users/1{target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        // The framing of a request is not ours to test.
        let is_framing = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            ["content-length", "transfer-encoding", "expect", "upgrade", "connection"].contains(&name.as_str())
        };
        for line in headers.lines().filter(|line| !line.is_empty() && !is_framing(line)) {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let request = request
            .replace("@key", &urls.access_key_id)
            .replace("@region", &urls.region)
            .replace("@date", &now.strftime("%Y%m%dT%H%M%SZ").to_string())
            .replace("@day", &now.strftime("%Y%m%d").to_string());
        let answer = runtime.block_on(ask(&address, request.as_bytes()));
        let head = answer.lines().next().unwrap_or_default();
        // On text that is no HTTP the server may hang up.
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 4"), "{head} for {request}");
        assert!(!answer.contains(&urls.secret_access_key));
    });
}

async fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // It may hang up before it has read everything.
    if stream.write_all(request).await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    String::from_utf8_lossy(&answer).into_owned()
}
