//! The wire between a function and what it calls: passes bytes on, over TLS or without, counts
//! connections and calls, and answers late.
//!
//! It counts calls without parsing them: HTTP/1.1 without pipelining has one request and one
//! response in turn on each connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::ops::Sub;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::process;

/// The variables with the addresses of what a function calls, and who answers there.
const UPSTREAMS: [(&str, Peer); 5] = [
    ("AWS_ENDPOINT_URL_DYNAMODB", Peer::Aws),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", Peer::Aws),
    ("AWS_ENDPOINT_URL_EVENTBRIDGE", Peer::Aws),
    ("THREADS_GRAPH_URL", Peer::Graph),
    ("WEBHOOK_URL", Peer::Graph),
];

/// Between two looks at a process whose calls are held.
const LOOK: Duration = Duration::from_millis(2);
/// Number of looks after which a process that has done nothing waits for its calls.
const QUIET: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Aws,
    Graph,
}

/// The moment at which a call of a function is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// This long after it was sent.
    After { aws: Duration, graph: Duration },
    /// In rounds: when the function waits for all of its calls. The number of rounds is the number
    /// of round trips that it makes one after the other.
    InRounds,
}

/// Counts since the start, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    pub(crate) calls: u64,
    /// With [`Pace::InRounds`] only.
    pub(crate) rounds: u64,
    /// Rounds in which Meta was called.
    pub(crate) graph_rounds: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            connections: self.connections - before.connections,
            calls: self.calls - before.calls,
            rounds: self.rounds - before.rounds,
            graph_rounds: self.graph_rounds - before.graph_rounds,
        }
    }
}

#[derive(Default)]
struct Book {
    counts: Counts,
    under_way: u64,
    held: u64,
    is_graph_held: bool,
}

struct Line {
    pace: Pace,
    book: Mutex<Book>,
    released: watch::Sender<()>,
}

impl Line {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wires of one function's environment.
pub(crate) struct Wire {
    line: Arc<Line>,
    pub(crate) variables: HashMap<String, String>,
}

impl Wire {
    /// Listens before each upstream that the environment names, with TLS if there is a
    /// configuration of it.
    pub(crate) fn start(
        environment: &HashMap<String, String>,
        tls: Option<&Arc<ServerConfig>>,
        pace: Pace,
    ) -> Result<Self> {
        let line = Line { pace, book: Mutex::default(), released: watch::Sender::new(()) };
        let line = Arc::new(line);
        let mut variables = environment.clone();
        for (name, peer) in UPSTREAMS {
            let Some(upstream) = environment.get(name) else { continue };
            let mut url: Url = upstream.parse()?;
            let upstream = format!("127.0.0.1:{}", url.port().context("an upstream without a port")?);
            let listener = listen()?;
            let is_set = url.set_port(Some(listener.local_addr()?.port())).is_ok()
                && url.set_host(Some("127.0.0.1")).is_ok()
                && (tls.is_none() || url.set_scheme("https").is_ok());
            anyhow::ensure!(is_set, "{url} cannot be moved");
            let tls = tls.map(|config| TlsAcceptor::from(Arc::clone(config)));
            tokio::spawn(accept(listener, tls, upstream, peer, Arc::clone(&line)));
            variables.insert(name.to_owned(), url.as_str().trim_end_matches('/').to_owned());
        }
        Ok(Self { line, variables })
    }

    pub(crate) fn counts(&self) -> Counts {
        self.line.book().counts
    }

    /// Answers the calls of a process in rounds, until it is dropped.
    pub(crate) async fn conduct(&self, id: u32) -> Infallible {
        let (mut before, mut quiet) = (None, 0);
        loop {
            sleep(LOOK).await;
            let seen = {
                let book = self.line.book();
                let waits = book.held > 0 && book.held == book.under_way;
                (waits, book.counts, process::cpu(id))
            };
            let is_quiet = seen.0 && before == Some(seen) && process::is_asleep(id);
            quiet = if is_quiet { quiet + 1 } else { 0 };
            before = Some(seen);
            if quiet >= QUIET {
                quiet = 0;
                let mut book = self.line.book();
                book.counts.rounds += 1;
                book.counts.graph_rounds += u64::from(book.is_graph_held);
                book.is_graph_held = false;
                self.line.released.send_replace(());
            }
        }
    }
}

/// Hundreds connect at once.
fn listen() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(4096)
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    upstream: String,
    peer: Peer,
    line: Arc<Line>,
) {
    while let Ok((client, _)) = listener.accept().await {
        line.book().counts.connections += 1;
        let (tls, upstream, line) = (tls.clone(), upstream.clone(), Arc::clone(&line));
        // A process that has ended is no failure of the wire.
        tokio::spawn(async move {
            let upstream = TcpStream::connect(upstream).await?;
            upstream.set_nodelay(true)?;
            client.set_nodelay(true)?;
            match tls {
                Some(tls) => pass(&line, peer, tls.accept(client).await?, upstream).await,
                None => pass(&line, peer, client, upstream).await,
            }
        });
    }
}

async fn pass(
    line: &Line,
    peer: Peer,
    client: impl AsyncRead + AsyncWrite,
    upstream: TcpStream,
) -> io::Result<()> {
    let (mut asks, mut hears) = split(client);
    let (mut answers, mut sends) = upstream.into_split();
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut call = None;
    loop {
        tokio::select! {
            length = asks.read(&mut asked) => match length? {
                0 => return Ok(()),
                length => {
                    call.get_or_insert_with(|| Call::begin(line));
                    sends.write_all(&asked[..length]).await?;
                }
            },
            length = answers.read(&mut answered) => match length? {
                0 => return Ok(()),
                length => {
                    if let Some(call) = call.take() {
                        call.wait(peer).await;
                    }
                    hears.write_all(&answered[..length]).await?;
                    hears.flush().await?;
                }
            },
        }
    }
}

/// A call that is not answered yet.
struct Call<'a> {
    line: &'a Line,
    begun: Instant,
}

impl<'a> Call<'a> {
    fn begin(line: &'a Line) -> Self {
        let mut book = line.book();
        book.counts.calls += 1;
        book.under_way += 1;
        Self { line, begun: Instant::now() }
    }

    /// Waits until the function may have its answer.
    async fn wait(self, peer: Peer) {
        match self.line.pace {
            Pace::After { aws, graph } => {
                sleep_until(self.begun + if peer == Peer::Aws { aws } else { graph }).await;
            }
            Pace::InRounds => {
                let mut released = self.line.released.subscribe();
                {
                    let mut book = self.line.book();
                    book.held += 1;
                    book.is_graph_held |= peer == Peer::Graph;
                }
                // An error means that the wire is gone, and nobody waits any more.
                let _ = released.changed().await;
                self.line.book().held -= 1;
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.line.book().under_way -= 1;
    }
}
