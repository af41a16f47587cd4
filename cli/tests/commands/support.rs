//! A sandbox, and the command against it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use threads_graph::{HttpClient, HttpTimeouts};
use threads_sandbox::{Fault, FaultAction, NewAccount, Sandbox, SandboxCall, SandboxOptions};

pub(crate) const APP_ID: &str = "1234567890123456";
pub(crate) const APP_SECRET: &str = "the-secret-of-the-sandbox-app";
pub(crate) const USER: &str = "17841405793187219";
pub(crate) const REDIRECT_URI: &str = "https://app.example/callback";
pub(crate) const DAY: Duration = Duration::from_hours(24);
/// Meta does not answer before [`Sandbox::clear_faults`].
pub(crate) const HOLD: FaultAction = FaultAction::Delay { millis: 3_600_000 };
/// An address at which nobody listens. A port that was free a moment ago may be another test's by
/// now.
pub(crate) const NOWHERE: &str = "127.0.0.1:9";
pub(crate) const HANG: Duration = Duration::from_mins(10);

/// A sandbox that serves until the test ends, and a folder of the test's own.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) url: String,
    folder: TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// The end of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Our command.
pub(crate) fn of_ours(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threads-auth"));
    command.args(arguments);
    command
}

/// Lets a command run in a folder, with nothing of this machine's in its environment.
pub(crate) fn surround<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TMPDIR", folder)
        .env("TERM", "xterm")
        // A user may have set it to debug another program: it must not make ours print more.
        .env("RUST_LOG", "trace")
}

impl World {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::new(SandboxOptions {
            accounts: vec![NewAccount::new("ada", USER)],
            ..SandboxOptions::new(APP_ID, APP_SECRET)
        })
        .unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(sandbox.clone().serve(listener, std::future::pending()));
        Self { sandbox, url, folder: tempfile::tempdir().unwrap(), _runtime: runtime }
    }

    /// The command in the test's folder, with nothing in its environment but the sandbox's
    /// addresses.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = of_ours(arguments);
        self.surround(&mut command);
        command
    }

    pub(crate) fn surround(&self, command: &mut Command) {
        surround(command, self.folder.path())
            .env("THREADS_AUTHORIZE_URL", format!("{}/oauth/authorize", self.url))
            .env("THREADS_GRAPH_URL", &self.url);
    }

    /// The command with the app's credentials in its environment.
    pub(crate) fn with_app(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("THREADS_APP_ID", APP_ID).env("THREADS_APP_SECRET", APP_SECRET);
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns true if root runs the test.
    pub(crate) fn folder_is_roots(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.folder.path().metadata().unwrap().uid() == 0
    }

    /// The names of what is in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The recovery file's name and its content. There is exactly one.
    pub(crate) fn recovered(&self) -> (PathBuf, String) {
        let names = self.names();
        let recovered: Vec<_> =
            names.iter().filter(|name| name.starts_with("threads-auth-recovered-")).collect();
        assert_eq!(recovered.len(), 1, "{names:?}");
        (self.path(recovered[0]), self.read(recovered[0]))
    }

    pub(crate) fn code(&self) -> String {
        self.sandbox.issue_code(USER, REDIRECT_URI, &[])
    }

    /// A long-lived token that is old enough to be refreshed.
    pub(crate) fn old_token(&self) -> String {
        let token = self.sandbox.issue_long_lived(USER);
        self.sandbox.clock().advance(2 * DAY);
        token
    }

    pub(crate) fn fault(&self, call: SandboxCall, times: u32, action: FaultAction) {
        self.sandbox.inject(Fault { call: Some(call), times, after: 0, action, user_id: None });
    }

    /// Returns the number of calls of a kind that Meta got.
    pub(crate) fn calls(&self, call: SandboxCall) -> usize {
        let calls = self.sandbox.calls();
        calls.iter().filter(|record| record.call == call).count()
    }
}

/// Returns the URL to which the command's own address sends a browser that begins a login.
pub(crate) fn sent_on(start: &str) -> url::Url {
    let (address, path) = start.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    location.unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

/// A client that waits for as long as a busy machine takes.
pub(crate) fn http() -> HttpClient {
    HttpClient::new(HttpTimeouts { connect: HANG, request: HANG }).unwrap()
}

/// Runs a command to its end, with nothing to read.
#[track_caller]
pub(crate) fn run(command: Command) -> Ended {
    Running::start(command).end()
}

/// Runs a command to its end, with this to read.
#[track_caller]
pub(crate) fn run_with(command: Command, input: &str) -> Ended {
    let mut running = Running::start(command);
    // A command that refuses its arguments does not wait for more.
    let _ = running.stdin.as_mut().unwrap().write_all(input.as_bytes());
    running.end()
}

/// A command under way. Standard error is read line by line, standard output at the end.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<String>>,
    lines: mpsc::Receiver<String>,
    said: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = read_all(child.stdout.take().unwrap());
        Self::watch(child, Some(stdout))
    }

    /// Starts it with its standard output as it was set.
    pub(crate) fn start_with_stdout(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        Self::watch(command.spawn().unwrap(), None)
    }

    fn watch(mut child: Child, stdout: Option<JoinHandle<String>>) -> Self {
        let (send, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if send.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, stdout, lines, said: String::new() }
    }

    /// Waits for a line that contains this, and returns it.
    #[track_caller]
    pub(crate) fn line(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(HANG) else {
                panic!("it never said {part:?}: {}", self.said);
            };
            self.said += &line;
            self.said.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Closes its input, and waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        drop(self.stdin.take());
        self.wait()
    }

    /// Sends a signal, and waits for its end. Its input stays open: an input that ends would race
    /// the signal.
    #[track_caller]
    pub(crate) fn end_by(mut self, signal: &str) -> Ended {
        let stdin = self.stdin.take();
        self.signal(signal);
        let ended = self.wait();
        drop(stdin);
        ended
    }

    #[track_caller]
    fn wait(mut self) -> Ended {
        loop {
            match self.lines.recv_timeout(HANG) {
                Ok(line) => {
                    self.said += &line;
                    self.said.push('\n');
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it did not end: {}", self.said),
            }
        }
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code().expect("it was ended by a signal"),
            stdout: self.stdout.take().map_or_else(String::new, |read| read.join().unwrap()),
            stderr: std::mem::take(&mut self.said),
        }
    }
}

impl Drop for Running {
    /// After a test that failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn read_all(mut pipe: ChildStdout) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &process.to_string()]).status();
    assert!(sent.unwrap().success());
}

impl Ended {
    /// Its result, of a command that is done.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        self.expect(0);
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the failure as programs see it.
    #[track_caller]
    pub(crate) fn failure(&self, code: i32) -> Value {
        self.expect(code);
        let failure: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        let keys: Vec<_> = failure.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error", "message"], "{failure}");
        failure
    }

    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// It failed with this code, and printed these texts.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, parts: &[&str]) -> &Self {
        self.expect(code);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        }
        self
    }

    /// None of these is printed anywhere.
    #[track_caller]
    pub(crate) fn hides(&self, secrets: &[&str]) -> &Self {
        for secret in secrets {
            for output in [&self.stdout, &self.stderr] {
                assert!(!output.contains(secret), "{secret} was printed: {output}");
            }
        }
        self
    }
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// A Meta that answers one call, with a new token, after doing something.
pub(crate) fn meta_that(acts: impl FnOnce() + Send + 'static, token: &str) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = json!({"access_token": token, "token_type": "bearer", "expires_in": 5_183_944}).to_string();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1, "the request was cut off");
            request.extend(byte);
        }
        acts();
        // The client may be gone, if that is the test's subject.
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
    });
    (url, served)
}
