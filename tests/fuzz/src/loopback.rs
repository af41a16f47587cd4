//! A server on this machine that gives the same answer to every request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Loopback {
    runtime: Runtime,
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Loopback {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::<Mutex<Vec<u8>>>::default();
        let answers = Arc::clone(&answer);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers)));
            }
        });
        Self { runtime, address, answer }
    }

    /// Runs `call` while every request gets this answer.
    pub(crate) fn answering<T>(&self, answer: Vec<u8>, call: impl Future<Output = T>) -> T {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        self.runtime.block_on(call)
    }
}

/// Returns an answer. A character that no header can have is left out.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        let value: String = value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
        for part in [&**name, ": ", &value, "\r\n"] {
            answer.push_str(part);
        }
    }
    answer.push_str("\r\n");
    [answer.as_bytes(), body].concat()
}

async fn serve(mut stream: TcpStream, answer: Arc<Mutex<Vec<u8>>>) {
    let mut read = Vec::new();
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let whole = end.map(|end| end + content_length(&read[..end]));
        if let Some(whole) = whole.filter(|whole| *whole <= read.len()) {
            read.drain(..whole);
            let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        } else if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
            return;
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    line.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
