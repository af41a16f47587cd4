//! A development stack in this process, and the command against it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use devstack::{Clock, Stack, StackOptions, Urls};
use tempfile::TempDir;
use threads_auth_store::aws;
use threads_graph::{HttpClient, UserId};
use threads_sandbox::{Fault, FaultAction, NewAccount, SandboxCall};

use crate::sign::Signer;
use crate::support::{Ended, http, of_ours, run, surround};

/// A stack at a moment of its own, that runs until the test ends, and a folder of the test's own.
pub(crate) struct Local {
    pub(crate) stack: Stack,
    folder: TempDir,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self::with(HashMap::new())
    }

    /// A stack with other values for some of the functions' variables.
    pub(crate) fn with(variables: HashMap<String, String>) -> Self {
        Self::at(Clock::frozen("2041-01-01T00:00:00Z".parse().unwrap()), variables)
    }

    /// The same by another clock.
    pub(crate) fn at(clock: Clock, mut variables: HashMap<String, String>) -> Self {
        // A busy machine is not an outage.
        variables.insert("REQUEST_SECONDS".to_owned(), "300".to_owned());
        let options = StackOptions { clock: Some(clock), variables, ..StackOptions::default() };
        Self::of(|runtime| runtime.block_on(Stack::start(options)).unwrap())
    }

    /// A stack that is started so.
    pub(crate) fn of(start: impl FnOnce(&tokio::runtime::Runtime) -> Stack) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stack = start(&runtime);
        Self { stack, folder: tempfile::tempdir().unwrap(), runtime }
    }

    /// The command in the test's folder, with nothing of this machine's in its environment.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = of_ours(arguments);
        self.surround(&mut command);
        command
    }

    pub(crate) fn surround(&self, command: &mut Command) {
        surround(command, self.folder.path()).env("HOME", self.folder.path());
    }

    /// The same against this stack.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg(self.local());
        command
    }

    pub(crate) fn local(&self) -> String {
        format!("--local={}", self.stack.urls().service_url)
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        run(self.command(arguments))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A token of a new person, who has consented at Meta and not with us.
    pub(crate) fn token(&self, user_id: &str) -> String {
        let sandbox = self.stack.sandbox().unwrap();
        sandbox.add_account(NewAccount::new(format!("person{}", &user_id[12..]), user_id));
        sandbox.issue_long_lived(user_id)
    }

    /// Such a person's account, taken over, and the token.
    #[track_caller]
    pub(crate) fn account(&self, user_id: &str) -> String {
        let token = self.token(user_id);
        self.write("one.jsonl", format!("{{\"token\":\"{token}\"}}\n"));
        self.run(&["accounts", "import", "one.jsonl"]).expect(0);
        token
    }

    pub(crate) fn grant(&self, user_id: &str) -> Option<threads_auth_model::Grant> {
        let user_id: UserId = user_id.parse().unwrap();
        let service = self.stack.service();
        self.runtime.block_on(service.find_grant(&user_id)).unwrap()
    }

    pub(crate) fn fault(&self, call: SandboxCall, times: u32, action: FaultAction) {
        self.stack.sandbox().unwrap().inject(Fault {
            call: Some(call),
            times,
            after: 0,
            action,
            user_id: None,
        });
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws::dynamodb(&self.stack.service().config().aws, &http())
    }

    pub(crate) fn secrets(&self) -> aws_sdk_secretsmanager::Client {
        aws::secrets_manager(&self.stack.service().config().aws, &http())
    }

    /// The text of a secret.
    pub(crate) fn secret(&self, id: &str) -> String {
        let client = self.secrets();
        let value = self.runtime.block_on(client.get_secret_value().secret_id(id).send());
        value.unwrap().secret_string.unwrap()
    }

    pub(crate) fn put_secret(&self, id: &str, text: &str) {
        let client = self.secrets();
        let put = client.put_secret_value().secret_id(id).secret_string(text);
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Gives a row of the table of grants an attribute that it should not have.
    pub(crate) fn spoil(&self, user_id: &str, attribute: &str, value: AttributeValue) {
        let client = self.dynamodb();
        let update = client
            .update_item()
            .table_name(&self.stack.urls().grants_table)
            .key("pk", AttributeValue::S(format!("user#{user_id}")))
            .update_expression("SET #a = :v")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":v", value);
        self.runtime.block_on(update.send()).unwrap();
    }
}

/// Forwards a request of the SDK's to an emulator of the stack's, with a new signature for it.
#[expect(clippy::disallowed_methods, reason = "a test's own requests")]
pub(crate) async fn forward(
    http: &HttpClient,
    urls: &Urls,
    (service, url): (&str, &str),
    target: &str,
    body: Bytes,
) -> Response {
    let signer = Signer {
        access_key_id: &urls.access_key_id,
        secret_access_key: &urls.secret_access_key,
        region: &urls.region,
        service,
    };
    let added = signer.sign(url, &[("x-amz-target", target)], &body);
    let request = http.inner().post(url).header("x-amz-target", target);
    let request = added.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let request = request.header("content-type", "application/x-amz-json-1.1").body(body);
    let answer = request.send().await.unwrap();
    (StatusCode::from_u16(answer.status().as_u16()).unwrap(), answer.bytes().await.unwrap()).into_response()
}
