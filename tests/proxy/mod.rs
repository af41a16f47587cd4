//! A proxy before everything that the service calls: DynamoDB, Secrets Manager, EventBridge, the
//! Graph API, and a receiver of webhooks. It passes on bytes as they are, until a fault strikes a
//! call.
//!
//! Faults are scripted by operation and count, or drawn from a seed.

mod fault;
mod request;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use devstack::Stack;
use threads_auth::{Config, ThreadsAuth};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use url::Url;

pub(crate) use fault::{Fault, Peer};
use request::Request;

/// The variables with the addresses of what the service calls.
const UPSTREAMS: [&str; 4] = [
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "THREADS_GRAPH_URL",
];

/// Clones are handles of the same proxy.
#[derive(Clone, Default)]
pub(crate) struct Proxy(Arc<State>);

#[derive(Default)]
struct State {
    script: Mutex<Script>,
    /// The operations of all calls, in their order.
    calls: Mutex<Vec<String>>,
    /// Ends the calls that are held.
    cleared: Notify,
}

#[derive(Default)]
struct Script {
    armed: Option<Armed>,
    random: Option<Random>,
    struck: usize,
}

/// A fault of one operation.
struct Armed {
    fault: Fault,
    operation: String,
    /// The number of calls to let through first.
    after: usize,
    /// The number of calls that it strikes then.
    times: usize,
}

/// Faults of one call in `one_in`.
struct Random {
    numbers: fastrand::Rng,
    one_in: usize,
}

impl Proxy {
    /// Starts a proxy, and a service that calls the stack through it.
    pub(crate) async fn start(stack: &Stack) -> (Self, ThreadsAuth) {
        let (proxy, config) = Self::before(stack, &[]).await;
        (proxy, ThreadsAuth::new(config).unwrap())
    }

    /// Starts a proxy, and returns the configuration of a function that calls the stack through it,
    /// with other values for some of its variables.
    pub(crate) async fn before(stack: &Stack, variables: &[(&str, &str)]) -> (Self, Config) {
        let proxy = Self::default();
        let mut all: HashMap<_, _> = stack.variables().clone();
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        for name in UPSTREAMS.into_iter().chain(["WEBHOOK_URL"]) {
            if let Some(url) = all.get_mut(name) {
                *url = proxy.listen(url).await;
            }
        }
        (proxy, Config::from_vars(&all, None).unwrap())
    }

    /// Listens before `upstream`, and returns the address.
    async fn listen(&self, upstream: &str) -> String {
        let mut url: Url = upstream.parse().unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (proxy, upstream) = (proxy.clone(), upstream.clone());
                // A client that has given up is no failure of the proxy.
                tokio::spawn(async move { proxy.serve(client, &upstream).await.ok() });
            }
        });
        url.to_string().trim_end_matches('/').to_owned()
    }

    /// Makes a call of `operation` fail, after so many others.
    pub(crate) fn fail(&self, fault: Fault, operation: &str, after: usize) {
        self.fail_times(fault, operation, after, 1);
    }

    /// Makes `times` calls of `operation` fail, after so many others.
    pub(crate) fn fail_times(&self, fault: Fault, operation: &str, after: usize, times: usize) {
        let armed = Armed { fault, operation: operation.to_owned(), after, times };
        let mut script = self.0.script.lock().unwrap();
        (script.armed, script.struck) = (Some(armed), 0);
    }

    /// Makes every call of `operation` fail, after so many others.
    pub(crate) fn fail_on(&self, fault: Fault, operation: &str, after: usize) {
        self.fail_times(fault, operation, after, usize::MAX);
    }

    /// Makes one call in `one_in` fail, each in a way that `seed` decides. Meta's answers about a
    /// token stay true.
    pub(crate) fn fail_at_random(&self, seed: u64, one_in: usize) {
        let numbers = fastrand::Rng::with_seed(seed);
        self.0.script.lock().unwrap().random = Some(Random { numbers, one_in });
    }

    /// Ends all faults.
    pub(crate) fn clear(&self) {
        let mut script = self.0.script.lock().unwrap();
        (script.armed, script.random) = (None, None);
        self.0.cleared.notify_waiters();
    }

    /// Returns the number of calls that a fault has struck.
    pub(crate) fn struck(&self) -> usize {
        self.0.script.lock().unwrap().struck
    }

    /// Returns true if a fault has struck.
    pub(crate) fn has_failed(&self) -> bool {
        self.struck() > 0
    }

    /// Returns the operations of all calls, in their order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.0.calls.lock().unwrap().clone()
    }

    /// Returns the number of attempted writes of the database.
    pub(crate) fn writes(&self) -> usize {
        let is_write = |call: &&String| call.ends_with("Item") && !call.starts_with("Get");
        self.calls().iter().filter(|call| is_write(call) || *call == "TransactWriteItems").count()
    }

    fn strike(&self, request: &Request) -> Option<Fault> {
        self.0.calls.lock().unwrap().push(request.operation.clone());
        let mut script = self.0.script.lock().unwrap();
        let fault = script.strike(request)?;
        script.struck += 1;
        Some(fault)
    }

    async fn serve(&self, mut client: TcpStream, upstream: &str) -> io::Result<()> {
        let request = Request::read(&mut client).await?;
        let fault = self.strike(&request);
        let pass = || pass(&request, upstream);
        match fault {
            None => client.write_all(&pass().await?).await,
            Some(Fault::ResetBefore) => client.set_zero_linger(),
            Some(Fault::ResetAfter) => {
                pass().await?;
                client.set_zero_linger()
            }
            Some(Fault::AnswerLost) => pass().await.map(drop),
            Some(Fault::Held) => self.held(&mut client).await,
            Some(Fault::Late) => {
                pass().await?;
                self.held(&mut client).await
            }
            Some(Fault::Delayed) => {
                self.held(&mut client).await?;
                pass().await.map(drop)
            }
            Some(Fault::Truncated) => {
                let answer = pass().await?;
                let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
                client.write_all(&answer[..body + (answer.len() - body) / 2]).await
            }
            Some(Fault::Garbage) => client.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").await,
            Some(Fault::Twice) => {
                pass().await?;
                client.write_all(&pass().await?).await
            }
            Some(answer) => client.write_all(answer.response(&request).as_bytes()).await,
        }
    }

    /// Waits until the client gives up, or the faults end.
    async fn held(&self, client: &mut TcpStream) -> io::Result<()> {
        let cleared = self.0.cleared.notified();
        tokio::select! {
            _ = client.read_u8() => {}
            () = cleared => {}
        }
        Ok(())
    }
}

impl Script {
    fn strike(&mut self, request: &Request) -> Option<Fault> {
        if let Some(Random { numbers, one_in }) = &mut self.random
            && numbers.usize(..*one_in) == 0
        {
            let faults = Fault::of(Peer::of(&request.operation)).iter().copied();
            return numbers.choice(faults.filter(|fault| !fault.is_metas_word()).collect::<Vec<_>>());
        }
        let armed = self.armed.as_mut().filter(|armed| armed.operation == request.operation)?;
        if armed.after > 0 {
            armed.after -= 1;
            return None;
        }
        let fault = armed.fault;
        armed.times -= 1;
        if armed.times == 0 {
            self.armed = None;
        }
        Some(fault)
    }
}

/// Sends a request on, and returns the answer's bytes.
async fn pass(request: &Request, upstream: &str) -> io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.write_all(&request.alone()).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    Ok(answer)
}
