//! A stack on AWS: how it is found, and the parts that only such a stack has.
//!
//! Its tables and secrets are those of a development stack. The responses of CloudFormation,
//! Scheduler, CloudWatch, KMS and Lambda are written here, in AWS's form.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use devstack::Clock;
use rexpect::session::spawn_command;
use serde_json::{Value, json};

use crate::stack::{Local, forward};
use crate::support::{DAY, Ended, HANG, NOWHERE, Running, http, run, text};

const ADA: &str = "17841400000000001";
/// The stack of the table.
const DATA: &str = "the-data";
const STACK: &str = "threads-auth";
const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1";
const INVOKE: &str = "/2015-03-31/functions/threads-auth-refresh/invocations";

/// AWS's answers.
#[derive(Clone)]
struct Said {
    status: &'static str,
    outputs: Vec<(&'static str, String)>,
    schedule: &'static str,
    alarms: Vec<(&'static str, &'static str, bool)>,
    /// The alarms that CloudFormation made. None if it refuses to list them.
    made: Option<Vec<&'static str>>,
    action: &'static str,
    denies: bool,
    /// DynamoDB's answers about the table of grants, and its backups.
    table: Value,
    backups: &'static str,
    key: &'static str,
    mapping: Value,
    /// The state of the mapping from the webhooks' queue, if the stack has one.
    posting: Option<&'static str>,
    /// Number of letters. None if SQS does not return it.
    letters: Option<u32>,
    /// Number of those that somebody looks at.
    hidden: u32,
    has_bus: bool,
    is_protected: bool,
    /// The alarms that were made to ring.
    rung: Vec<String>,
    /// Lambda's status, its error if there is one, and the body.
    invoked: (u16, &'static str, String),
    /// The events that it got.
    events: Vec<String>,
}

pub(crate) struct Aws {
    pub(crate) local: Local,
    url: String,
    said: Arc<Mutex<Said>>,
    /// Lambda answers only while nobody holds this.
    function: Arc<tokio::sync::Mutex<()>>,
}

impl Aws {
    /// A deployed stack's time is this machine's.
    pub(crate) fn new() -> Self {
        Self::at(Clock::system())
    }

    /// A stack in which nothing has happened since then.
    fn at(clock: Clock) -> Self {
        let local = Local::at(clock, HashMap::new());
        let urls = local.stack.urls().clone();
        let output = |name, value: &str| (name, value.to_owned());
        let said = Arc::new(Mutex::new(Said {
            status: "UPDATE_COMPLETE",
            outputs: vec![
                output("RedirectCallbackUrl", &format!("{}/callback", urls.service_url)),
                output("GrantsTableName", &urls.grants_table),
                output("ShortLivedTableName", &urls.short_lived_table),
                output("AppSecretArn", &urls.app_secret_id),
                output("KeyringSecretArn", &urls.keyring_secret_id),
                output("ScheduleName", "threads-auth/sweep"),
                output("RefreshFunctionName", "threads-auth-refresh"),
                output("DataKeyArn", KEY),
                output("ThreadsGraphUrl", &urls.threads_url),
                output("ThreadsAuthorizeUrl", &format!("{}/oauth/authorize", urls.threads_url)),
                output("EventBusName", STACK),
                output("ServiceVersion", env!("CARGO_PKG_VERSION")),
            ],
            schedule: "ENABLED",
            alarms: vec![("threads-auth-sweep-missed", "OK", true)],
            made: Some(vec!["threads-auth-sweep-missed"]),
            action: "kms:DescribeKey",
            denies: false,
            table: json!({
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"},
                "LatestStreamArn": "stream-1",
                "DeletionProtectionEnabled": true,
                "SSEDescription": {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": KEY},
                "GlobalSecondaryIndexes": [
                    {"IndexName": "due", "IndexStatus": "ACTIVE"},
                    {"IndexName": "reference", "IndexStatus": "ACTIVE"},
                ],
            }),
            backups: "ENABLED",
            key: "Enabled",
            mapping: json!({"State": "Enabled", "EventSourceArn": "stream-1", "LastProcessingResult": "OK"}),
            posting: None,
            letters: Some(0),
            hidden: 0,
            has_bus: true,
            is_protected: true,
            rung: Vec::new(),
            invoked: (200, "", String::new()),
            events: Vec::new(),
        }));
        let listener =
            local.runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let function = Arc::new(tokio::sync::Mutex::new(()));
        let (answers, running, http) = (Arc::clone(&said), Arc::clone(&function), http());
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
            let table = target.and_then(|target| target.strip_prefix("DynamoDB_20120810."));
            if let (Some(target), false) = (target, table.is_none_or(|call| call.starts_with("Describe"))) {
                let dynamodb = ("dynamodb", urls.dynamodb_url.as_str());
                return forward(&http, &urls, dynamodb, target, body).await;
            }
            if uri.path().ends_with("/operation/SetAlarmState") {
                let said = String::from_utf8_lossy(&body).into_owned();
                answers.lock().unwrap().rung.push(said);
                return ([("smithy-protocol", "rpc-v2-cbor")], vec![0xa0]).into_response();
            }
            if uri.path() == INVOKE {
                let event = String::from_utf8_lossy(&body).into_owned();
                answers.lock().unwrap().events.push(event);
                drop(running.lock().await);
            }
            let said = answers.lock().unwrap().clone();
            answer(&said, &uri, &headers, &body)
        });
        local.runtime.spawn(async { axum::serve(listener, router).await });
        Self { local, url, said, function }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.local.bare(arguments);
        let urls = self.local.stack.urls();
        command
            .env("AWS_REGION", &urls.region)
            .env("AWS_ACCESS_KEY_ID", &urls.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &urls.secret_access_key)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.url)
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &urls.secrets_manager_url);
        command
    }

    /// Runs a sweep by the function, to which Lambda answers this.
    fn invoked(&self, status: u16, error: &'static str, body: &Value) -> Ended {
        self.say(|said| said.invoked = (status, error, body.to_string()));
        run(self.command(&["sweep", "--invoke"]))
    }

    /// Refuses from now on what a reader may be denied.
    pub(crate) fn deny(&self) {
        self.say(|said| (said.denies, said.made) = (true, None));
    }

    fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock().unwrap());
    }

    /// A check of the doctor's: its level, its detail, and the next step.
    fn examined(&self, code: i32, check: &str) -> (String, String) {
        let ended = run(self.command(&["doctor", "--json"]));
        ended.expect(code);
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        let checks = json["checks"].as_array().unwrap();
        let found = checks.iter().find(|finding| finding["check"] == check).unwrap();
        (text(found, "/level").to_owned(), found.to_string())
    }

    /// Lets the doctor find each fault.
    fn find(&self, faults: &[Fault<'_>]) {
        let well = self.said.lock().unwrap().clone();
        for (check, level, words, breaks) in faults {
            self.say(|said| breaks(said));
            let (found, told) = self.examined(i32::from(*level == "fail"), check);
            assert!(found == *level && told.contains(words), "{told}");
            assert!(told.contains("\"next\""), "{told}");
            self.say(|said| *said = well.clone());
        }
    }
}

fn answer(said: &Said, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Response {
    let body = String::from_utf8_lossy(body);
    if uri.path() == INVOKE {
        let (status, error, body) = said.invoked.clone();
        let header = match (status, error) {
            (_, "") => ("x-amz-executed-version", "$LATEST"),
            (200, error) => ("x-amz-function-error", error),
            (_, error) => ("x-amzn-errortype", error),
        };
        return (StatusCode::from_u16(status).unwrap(), [header], body).into_response();
    }
    if uri.path() == "/schedules/sweep" {
        assert!(uri.query().unwrap().contains("groupName=threads-auth"));
        if said.denies {
            return (StatusCode::FORBIDDEN, [("x-amzn-errortype", "AccessDeniedException")], "{}")
                .into_response();
        }
        let schedule = json!({"State": told(said.schedule), "ScheduleExpression": "rate(15 minutes)"});
        return axum::Json(schedule).into_response();
    }
    let asks_for = |what: &str| headers.get("x-amz-target").is_some_and(|target| target == what);
    if asks_for("secretsmanager.GetSecretValue") {
        return (StatusCode::BAD_REQUEST, "{\"__type\":\"AccessDeniedException\"}").into_response();
    }
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some(answer) = of_data_and_events(said, uri, target.unwrap_or_default(), &body) {
        return answer;
    }
    if asks_for("TrentService.GetKeyPolicy") {
        let policy =
            json!({"Statement": [{"Sid": "Root", "Effect": "Allow", "Action": said.action}]}).to_string();
        return axum::Json(json!({"Policy": policy, "PolicyName": "default"})).into_response();
    }
    if headers.contains_key("smithy-protocol") {
        let kind = [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")];
        if uri.path().ends_with("/operation/GetMetricData") {
            let (status, answer) =
                if said.denies { (StatusCode::FORBIDDEN, denied()) } else { (StatusCode::OK, four_sweeps()) };
            return (status, kind, answer).into_response();
        }
        // Only the requested ones: another stack's may begin alike.
        let named = said.alarms.iter().filter(|(name, ..)| body.contains(name)).copied();
        return (kind, alarms(&named.collect::<Vec<_>>())).into_response();
    }
    if body.contains("Action=ListStackResources") {
        return resources(said, &body);
    }
    if body.contains("Action=DescribeStackResources") {
        let table = said.outputs.iter().find(|(name, _)| *name == "GrantsTableName").map(|(_, name)| name);
        return format!(
            "<DescribeStackResourcesResponse><DescribeStackResourcesResult><StackResources><member><StackName>{DATA}</StackName><LogicalResourceId>T</LogicalResourceId><PhysicalResourceId>{}</PhysicalResourceId><ResourceType>AWS::DynamoDB::Table</ResourceType><Timestamp>2026-01-01T00:00:00Z</Timestamp><ResourceStatus>CREATE_COMPLETE</ResourceStatus></member></StackResources></DescribeStackResourcesResult></DescribeStackResourcesResponse>",
            table.unwrap()
        )
        .into_response();
    }
    assert!(body.contains("Action=DescribeStacks"), "{uri} {body}");
    if body.contains(&format!("StackName={DATA}")) {
        return format!(
            "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>{DATA}</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus><EnableTerminationProtection>{}</EnableTerminationProtection></member></Stacks></DescribeStacksResult></DescribeStacksResponse>",
            said.is_protected
        )
        .into_response();
    }
    if !body.contains(&format!("StackName={STACK}&")) && !body.ends_with(&format!("StackName={STACK}")) {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack does not exist</Message></Error></ErrorResponse>";
        return (StatusCode::BAD_REQUEST, error).into_response();
    }
    let outputs: Vec<_> = said
        .outputs
        .iter()
        .map(|(key, value)| {
            format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>")
        })
        .collect();
    let outputs = outputs.concat();
    format!(
        "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>{STACK}</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>{}</StackStatus><Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>",
        said.status
    )
    .into_response()
}

/// Nothing where AWS leaves a member out.
fn told(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Answers about the table, its key, and the way of the events.
fn of_data_and_events(said: &Said, uri: &Uri, target: &str, body: &str) -> Option<Response> {
    if uri.path().starts_with("/2015-03-31/event-source-mappings/mapping-1") {
        return Some(axum::Json(said.mapping.clone()).into_response());
    }
    if uri.path().starts_with("/2015-03-31/event-source-mappings/mapping-2") {
        let mapping = json!({"State": said.posting, "EventSourceArn": "arn:aws:sqs:::webhook-queue"});
        return Some(axum::Json(mapping).into_response());
    }
    let missing = |kind: &str| (StatusCode::BAD_REQUEST, json!({"__type": kind}).to_string()).into_response();
    if target == "AWSEvents.DescribeEventBus" {
        let there = axum::Json(json!({"Name": STACK})).into_response();
        return Some(if said.has_bus { there } else { missing("ResourceNotFoundException") });
    }
    if target == "AmazonSQS.GetQueueAttributes" {
        assert!(!body.contains("webhook-queue"), "events on their way are no letters");
        let is_ours = body.contains("sweep-letters");
        let mut attributes = json!({});
        // Only the requested ones.
        for (name, letters) in [
            ("ApproximateNumberOfMessages", said.letters),
            ("ApproximateNumberOfMessagesNotVisible", Some(said.hidden)),
        ] {
            if let (true, Some(letters)) = (body.contains(&format!("\"{name}\"")), letters) {
                attributes[name] = json!(if is_ours { letters } else { 0 }.to_string());
            }
        }
        return Some(axum::Json(json!({"Attributes": attributes})).into_response());
    }
    if target == "DynamoDB_20120810.DescribeTable" {
        return Some(axum::Json(json!({"Table": said.table})).into_response());
    }
    if target == "DynamoDB_20120810.DescribeContinuousBackups" {
        let recovery = json!({"PointInTimeRecoveryStatus": told(said.backups)});
        let told = json!({"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": recovery});
        return Some(axum::Json(json!({"ContinuousBackupsDescription": told})).into_response());
    }
    if target == "TrentService.DescribeKey" {
        let told = json!({"KeyId": "1", "KeyState": told(said.key), "DeletionDate": 4_102_444_800_u32});
        return Some(axum::Json(json!({"KeyMetadata": told})).into_response());
    }
    None
}

/// A text in CBOR.
fn cbor(out: &mut Vec<u8>, text: &str) {
    out.extend([0x78, u8::try_from(text.len()).unwrap()]);
    out.extend(text.as_bytes());
}

/// One value of the first metric that is asked for, at this moment.
fn four_sweeps() -> Vec<u8> {
    let now = u32::try_from(Clock::system().now().as_second()).unwrap();
    let mut out = vec![0xa1];
    cbor(&mut out, "MetricDataResults");
    out.extend([0x81, 0xa3]);
    cbor(&mut out, "Id");
    cbor(&mut out, "m0");
    cbor(&mut out, "Timestamps");
    out.extend([0x81, 0xc1, 0x1a]);
    out.extend(now.to_be_bytes());
    cbor(&mut out, "Values");
    out.extend([0x81, 0xfb]);
    out.extend(4.0_f64.to_be_bytes());
    out
}

fn denied() -> Vec<u8> {
    let mut out = vec![0xa1];
    cbor(&mut out, "__type");
    cbor(&mut out, "AccessDenied");
    out
}

/// The alarms in CBOR, which is what CloudWatch speaks: maps, lists and texts are all that this
/// needs.
fn alarms(alarms: &[(&str, &str, bool)]) -> Vec<u8> {
    let mut out = Vec::new();
    let list = |out: &mut Vec<u8>, items: usize| out.push(0x80 + u8::try_from(items).unwrap());
    out.push(0xa1);
    cbor(&mut out, "MetricAlarms");
    list(&mut out, alarms.len());
    for (name, state, tells) in alarms {
        out.push(0xa3);
        cbor(&mut out, "AlarmName");
        cbor(&mut out, name);
        cbor(&mut out, "StateValue");
        cbor(&mut out, state);
        cbor(&mut out, "AlarmActions");
        list(&mut out, usize::from(*tells));
        if *tells {
            cbor(&mut out, "arn:aws:sns:us-east-1:123456789012:alarms");
        }
    }
    out
}

#[test]
fn a_stack_is_found_by_its_outputs() {
    let aws = Aws::new();
    aws.local.account(ADA);
    let listed = run(aws.command(&["accounts", "list", "--json"])).json();
    assert_eq!(text(&listed, "/accounts/0/user_id"), ADA);
    // By a profile, too: its region, its keys and its endpoint are in AWS's own files.
    let urls = aws.local.stack.urls();
    let config = format!(
        "[profile ops]\nregion = {}\naws_access_key_id = {}\naws_secret_access_key = {}\nendpoint_url = {}\n",
        urls.region, urls.access_key_id, urls.secret_access_key, aws.url
    );
    aws.local.write("aws-config", config);
    let mut command = aws.command(&["accounts", "list", "--profile", "ops", "--json"]);
    for variable in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"] {
        command.env_remove(variable);
    }
    command.env("AWS_CONFIG_FILE", aws.local.path("aws-config"));
    assert_eq!(text(&run(command).json(), "/accounts/0/user_id"), ADA);
    // With a slash at its end, the redirect URI is the same service's.
    let slash = format!("{}/callback/", urls.service_url);
    aws.say(|said| said.outputs[0].1.clone_from(&slash));
    let (level, detail) = aws.examined(0, "redirect URI");
    assert!(level == "ok" && detail.contains(&slash), "{detail}");
    assert_eq!(text(&run(aws.command(&["accounts", "list", "--json"])).json(), "/accounts/0/user_id"), ADA);
    // A write goes to the same place.
    run(aws.command(&["accounts", "disconnect", ADA, "--yes"])).expect(0);
    assert!(aws.local.grant(ADA).unwrap().live().is_none());
}

#[test]
fn a_stack_that_is_not_found_is_explained() {
    let aws = Aws::new();
    run(aws.command(&["accounts", "list", "--stack", "other"]))
        .says(2, &["there is no stack other in us-east-1"]);
    let mut command = aws.command(&["accounts", "list"]);
    command.env_remove("AWS_REGION");
    run(command).says(2, &["no AWS region is known", "--local"]);
    let mut command = aws.command(&["accounts", "list"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    run(command).says(2, &["there are no AWS credentials", "aws sso login"]);
    let mut command = aws.command(&["accounts", "list"]);
    command.env("AWS_ENDPOINT_URL", format!("http://{NOWHERE}")).env("AWS_MAX_ATTEMPTS", "1");
    run(command).says(4, &["CloudFormation in us-east-1 does not answer"]);
    aws.say(|said| said.outputs.retain(|(name, _)| *name != "GrantsTableName"));
    run(aws.command(&["accounts", "list"])).says(1, &["has no output GrantsTableName"]);
}

/// Asserts that a failure is a plain sentence, for people and for programs.
#[track_caller]
fn is_a_sentence(ended: &Ended, code: i32, kind: &str) {
    let failure = ended.failure(code);
    assert_eq!(failure["error"]["kind"], kind, "{failure}");
    let said = format!("{}{}", ended.stderr, ended.stdout);
    for jargon in [
        "DispatchFailure",
        "dispatch failure",
        "{ source",
        "io error",
        "error sending request",
        "Attempted:",
        "provider",
    ] {
        assert!(!said.contains(jargon), "{jargon}: {said}");
    }
}

#[test]
fn aws_out_of_reach_is_a_sentence_with_every_command() {
    let aws = Aws::new();
    aws.local.write("tokens.jsonl", "{\"token\":\"THQVJnone\"}\n");
    let everything = crate::failing::COMMANDS.into_iter().chain([
        &["doctor"][..],
        &["keyring", "rotate"],
        &["keyring", "reseal"],
        &["restore", "--from", "grants-restored"],
        &["sweep", "--invoke"],
    ]);
    let tables: [&[&str]; 2] = [&["accounts", "list"], &["pause"]];
    let secrets: [&[&str]; 2] = [&["keyring", "show"], &["configure", "--inspector", ADA]];
    let cases = everything
        .map(|called| ("AWS_ENDPOINT_URL", called))
        .chain(tables.map(|called| ("AWS_ENDPOINT_URL_DYNAMODB", called)))
        .chain(secrets.map(|called| ("AWS_ENDPOINT_URL_SECRETS_MANAGER", called)));
    for (variable, called) in cases {
        let mut command = aws.command(called);
        command.arg("--json").env("AWS_MAX_ATTEMPTS", "1").env(variable, format!("http://{NOWHERE}"));
        let ended = run(command);
        is_a_sentence(&ended, 4, "unreachable");
        assert!(ended.stderr.contains("Connection refused"), "{called:?}: {ended:?}");
        let failure = ended.failure(4);
        let next = text(&failure, "/error/next");
        assert!(next.contains("online") && next.contains("region"), "{next}");
    }
}

#[test]
fn missing_credentials_are_a_sentence() {
    let aws = Aws::new();
    let config = "[profile sso]\nregion = us-east-1\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n\
                  [sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n\
                  [profile lost]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = none\n\
                  [profile fails]\nregion = us-east-1\ncredential_process = false\n\
                  [profile empty]\nregion = us-east-1\n";
    aws.local.write("aws-config", config);
    let with = |arguments: &[&str], more: &[(&str, &str)]| {
        let mut command = aws.command(&["accounts", "list", "--json"]);
        command.args(arguments).env("AWS_CONFIG_FILE", aws.local.path("aws-config"));
        for variable in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            command.env_remove(variable);
        }
        command.envs(more.iter().copied());
        run(command)
    };
    let role = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &format!("http://{NOWHERE}")),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", aws.local.path("aws-config").to_str().unwrap()),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let role: Vec<_> = role.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (arguments, variables, code, kind, said) in [
        (&[][..], &[][..], 2, "usage", "no AWS region is known"),
        (&["--region", "us-east-1"], &[], 2, "usage", "there are no AWS credentials: give a --profile"),
        (&["--profile", "nope"], &[], 2, "usage", "there is no AWS profile nope in "),
        (&["--profile", "nope", "--region", "us-east-1"], &[], 2, "usage", "`aws configure list-profiles`"),
        (&[], &[("AWS_PROFILE", "nope")], 2, "usage", "there is no AWS profile nope in "),
        (&["--profile", "empty"], &[], 2, "usage", "there are no AWS credentials: give a --profile"),
        (&["--profile", "lost"], &[], 2, "usage", "could not find source profile none"),
        (&["--profile", "fails"], &[], 2, "usage", "external process exited"),
        (&["--profile", "sso"], &[], 2, "usage", "run `aws sso login --profile sso`"),
        (&[], &role[..], 4, "unreachable", "the AWS credentials could not be fetched: Connection refused"),
        (&["--region", ""], &[], 2, "usage", "no AWS region is known"),
        (&["--region", "us east"], &[], 2, "usage", "\"us east\" is not an AWS region"),
        (&[], &[("AWS_REGION", " ")], 2, "usage", "is not an AWS region"),
        (
            &["--region", "us-east-1"],
            &[("AWS_ENDPOINT_URL", "nonsense")],
            2,
            "usage",
            "AWS_ENDPOINT_URL is not a URL",
        ),
        (
            &["--region", "us-east-1"],
            &[("AWS_ENDPOINT_URL", "127.0.0.1:9")],
            2,
            "usage",
            "AWS_ENDPOINT_URL is not a URL",
        ),
    ] {
        let ended = with(arguments, variables);
        is_a_sentence(&ended, code, kind);
        ended.says(code, &[said]);
    }
}

/// No permission is missing, and nobody has to try again later.
#[test]
fn credentials_that_are_over_are_a_sentence() {
    let aws = Aws::new();
    for code in ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"] {
        let xml = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        );
        let router = Router::new().fallback(move || async { (StatusCode::FORBIDDEN, xml) });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = aws.local.runtime.block_on(listener).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        aws.local.runtime.spawn(async { axum::serve(listener, router).await });
        let mut command = aws.command(&["accounts", "list", "--json"]);
        command.env("AWS_ENDPOINT_URL", url);
        let ended = run(command);
        is_a_sentence(&ended, 2, "usage");
        ended.says(2, &[code, "run `aws sso login`"]);
    }
}

#[test]
fn the_stack_has_one_name_by_itself() {
    let aws = Aws::new();
    // The name that `sam deploy` gives it.
    let sam = include_str!("../../../samconfig.toml");
    let (_, parameters) = sam.split_once("[default.global.parameters]").unwrap();
    let named = parameters.lines().find_map(|line| line.strip_prefix("stack_name = ")).unwrap();
    assert_eq!(named, format!("\"{STACK}\""));
    let help = run(aws.command(&["accounts", "list", "--help"]));
    let told = format!("CloudFormation stack [env: THREADS_AUTH_STACK] [default: {STACK}]");
    assert!(help.stdout.contains(&told), "{}", help.stdout);
    let of = |variable: &str, arguments: &[&str]| {
        let mut command = aws.command(&["accounts", "list"]);
        command.args(arguments).env("THREADS_AUTH_STACK", variable);
        run(command)
    };
    of("other", &[]).says(2, &["there is no stack other in us-east-1"]);
    of("other", &["--stack", STACK]).expect(0);
    of("other", &[&aws.local.local()]).expect(0);
    of(STACK, &["--stack", "another"]).says(2, &["there is no stack another in us-east-1"]);
    of(STACK, &[]).expect(0);
    of("", &[]).expect(0);
}

#[test]
fn the_doctor_looks_at_what_only_aws_has() {
    let aws = Aws::new();
    let well = run(aws.command(&["doctor", "--json"])).json();
    let names: Vec<_> =
        well["checks"].as_array().unwrap().iter().map(|finding| text(finding, "/check")).collect();
    let of_aws = ["clock", "schedule", "alarms", "key policy"].into_iter().chain(NEW_CHECKS);
    for check in of_aws {
        assert!(names.contains(&check), "{names:?}");
        assert_eq!(aws.examined(0, check).0, "ok", "{well}");
    }
    aws.say(|said| said.schedule = "DISABLED");
    assert!(aws.examined(1, "schedule").1.contains("Nothing is refreshed while it is off"));
    aws.say(|said| (said.schedule, said.denies) = ("ENABLED", true));
    assert!(aws.examined(0, "schedule").1.contains("scheduler:GetSchedule"));
    // The names of another stack's alarms begin alike, and must not be included.
    aws.say(|said| said.alarms.push(("threads-auth-dev-sweep-missed", "ALARM", true)));
    assert_eq!(aws.examined(0, "alarms").0, "ok");
    for (alarm, code, level, said) in [
        (Some(("threads-auth-weakest-token", "ALARM", true)), 1, "fail", "ringing: weakest-token"),
        (
            Some(("threads-auth-events-behind", "INSUFFICIENT_DATA", true)),
            0,
            "warn",
            "without data yet: events-behind",
        ),
        (Some(("threads-auth-events-behind", "OK", false)), 0, "warn", "nobody is notified"),
        (None, 0, "warn", "the stack has none"),
    ] {
        aws.say(|said| {
            said.alarms = alarm.into_iter().collect();
            said.made = Some(alarm.into_iter().map(|(name, ..)| name).collect());
        });
        let (found, words) = aws.examined(code, "alarms");
        assert!(found == level && words.contains(said), "{words}");
    }
    aws.say(|said| said.made = Some(vec!["threads-auth-sweep-missed"]));
    assert!(aws.examined(1, "alarms").1.contains("gone: sweep-missed"));
    aws.say(|said| said.alarms = vec![("threads-auth-sweep-missed", "OK", true)]);
    assert_eq!(aws.examined(0, "alarms").0, "ok");
    aws.say(|said| said.made = None);
    assert!(aws.examined(0, "alarms").1.contains("cloudformation:ListStackResources"));
    aws.say(|said| said.action = "kms:*");
    assert!(aws.examined(1, "key policy").1.contains("directly: Root"));
    for (status, code, level) in [
        ("UPDATE_ROLLBACK_COMPLETE", 1, "warn"),
        ("UPDATE_IN_PROGRESS", 1, "warn"),
        ("ROLLBACK_COMPLETE", 1, "fail"),
    ] {
        aws.say(|said| said.status = status);
        assert_eq!(aws.examined(code, "stack").0, level);
    }
}

/// The check, its level, a word of it, and what is wrong.
type Fault<'a> = (&'a str, &'a str, &'a str, &'a dyn Fn(&mut Said));

/// The checks, their details, and the missing facts.
type Silence<'a> = (&'a [&'a str], &'a str, &'a dyn Fn(&mut Said));

const NEW_CHECKS: [&str; 12] = [
    "version",
    "table stream",
    "table protection",
    "table encryption",
    "table indexes",
    "backups",
    "data key",
    "stack protection",
    "events mapping",
    "event bus",
    "dead letters",
    "alarms",
];

/// A stack that posts its events has a second mapping, and a queue of events that are alive.
#[test]
fn the_doctor_looks_at_the_webhooks_mapping() {
    let aws = Aws::new();
    let well = aws.said.lock().unwrap().clone();
    let arn = ("WebhookQueueArn", "arn:aws:sqs:::webhook-queue".to_owned());
    let url = ("WebhookQueueUrl", "https://sqs/1/webhook-queue".to_owned());
    for (state, expected) in [("Enabled", "ok"), ("Enabling", "warn"), ("Disabled", "fail")] {
        aws.say(|said| {
            said.posting = Some(state);
            said.outputs.splice(0..0, [arn.clone(), url.clone()]);
        });
        let exit = i32::from(expected == "fail");
        let (found, told) = aws.examined(exit, "webhooks mapping");
        assert!(found == expected && told.contains(state.trim_start_matches('E')), "{told}");
        assert_eq!(aws.examined(exit, "events mapping").0, "ok");
        assert!(aws.examined(exit, "dead letters").1.contains("none in 3 queues"));
        aws.say(|said| *said = well.clone());
    }
}

/// The stack of the data may be older than the functions.
#[test]
fn the_doctor_looks_at_the_tables_indexes() {
    Aws::new().find(&[
        ("table indexes", "fail", "no index `due`", &|said| {
            _ = said.table["GlobalSecondaryIndexes"].as_array_mut().unwrap().remove(0);
        }),
        ("table indexes", "warn", "no index `reference`", &|said| {
            _ = said.table["GlobalSecondaryIndexes"].as_array_mut().unwrap().pop();
        }),
        ("table indexes", "warn", "is CREATING", &|said| {
            said.table["GlobalSecondaryIndexes"][1]["IndexStatus"] = json!("CREATING");
        }),
    ]);
}

#[test]
fn the_doctor_looks_at_what_keeps_the_tokens_and_tells_the_events() {
    let aws = Aws::new();
    let faults: [Fault<'_>; 21] = [
        ("version", "warn", "the stack has version 0.0.9", &|said| {
            said.outputs.last_mut().unwrap().1 = "0.0.9".to_owned();
        }),
        ("version", "warn", "does not report its version", &|said| _ = said.outputs.pop()),
        ("table stream", "fail", "is switched off", &|said| {
            _ = said.table.as_object_mut().unwrap().remove("StreamSpecification");
        }),
        ("table stream", "fail", "both images", &|said| {
            said.table["StreamSpecification"]["StreamViewType"] = json!("KEYS_ONLY");
        }),
        ("table protection", "fail", "one call deletes every token", &|said| {
            said.table["DeletionProtectionEnabled"] = json!(false);
        }),
        ("table encryption", "fail", "DynamoDB's own", &|said| {
            _ = said.table.as_object_mut().unwrap().remove("SSEDescription");
        }),
        ("table encryption", "fail", "another key", &|said| {
            said.table["SSEDescription"]["KMSMasterKeyArn"] = json!("other");
        }),
        ("table encryption", "fail", "cannot reach", &|said| {
            said.table["SSEDescription"]["InaccessibleEncryptionDateTime"] = json!(1);
        }),
        ("backups", "fail", "point-in-time recovery is off", &|said| said.backups = "DISABLED"),
        ("data key", "fail", "kms cancel-key-deletion", &|said| said.key = "PendingDeletion"),
        ("data key", "fail", "kms enable-key", &|said| said.key = "Disabled"),
        ("data key", "fail", "its state is Unavailable", &|said| said.key = "Unavailable"),
        ("stack protection", "warn", "update-termination-protection", &|said| said.is_protected = false),
        ("events mapping", "fail", "update-event-source-mapping --enabled --uuid mapping-1", &|said| {
            said.mapping["State"] = json!("Disabled");
        }),
        ("events mapping", "warn", "is Enabling", &|said| said.mapping["State"] = json!("Enabling")),
        ("events mapping", "fail", "but fails", &|said| {
            said.mapping["LastProcessingResult"] = json!("PROBLEM: Function call failed");
        }),
        ("events mapping", "fail", "not the table's any more", &|said| {
            said.mapping["EventSourceArn"] = json!("stream-0");
        }),
        ("event bus", "fail", "it does not exist", &|said| said.has_bus = false),
        ("dead letters", "fail", "3 in sweep-letters", &|said| said.letters = Some(3)),
        ("dead letters", "fail", "5 in sweep-letters", &|said| (said.letters, said.hidden) = (Some(3), 2)),
        ("alarms", "warn", "if one of these rings: quiet", &|said| {
            said.alarms.push(("threads-auth-quiet", "OK", false));
            said.made.as_mut().unwrap().push("threads-auth-quiet");
        }),
    ];
    let well = aws.said.lock().unwrap().clone();
    aws.find(&faults);
    // A fact that AWS or the stack does not report is not a failure, and no check is left out
    // silently.
    let without = |said: &mut Said, name: &str| said.outputs.retain(|(output, _)| *output != name);
    let silences: [Silence<'_>; 11] = [
        (
            &["table stream", "table protection", "table encryption", "table indexes"],
            "did not report",
            &|said| {
                said.table = Value::Null;
            },
        ),
        (&["events mapping"], "whether it reads the table's stream", &|said| said.table = Value::Null),
        (&["table protection"], "did not report", &|said| {
            _ = said.table.as_object_mut().unwrap().remove("DeletionProtectionEnabled");
        }),
        (&["table encryption", "data key", "key policy"], "no output DataKeyArn", &|said| {
            without(said, "DataKeyArn");
        }),
        (&["schedule"], "no output ScheduleName", &|said| without(said, "ScheduleName")),
        (&["event bus"], "no output EventBusName", &|said| without(said, "EventBusName")),
        (&["schedule"], "did not report", &|said| said.schedule = ""),
        (&["backups"], "did not report", &|said| said.backups = ""),
        (&["data key"], "did not report", &|said| said.key = ""),
        (&["events mapping"], "did not report", &|said| said.mapping = json!({})),
        (&["dead letters"], "did not report", &|said| said.letters = None),
    ];
    for (checks, words, hides) in silences {
        aws.say(|said| hides(said));
        let ended = run(aws.command(&["doctor", "--json"])).json();
        for check in checks {
            let found = ended["checks"].as_array().unwrap().iter().find(|found| found["check"] == *check);
            let found = found.unwrap_or_else(|| panic!("{check}: {ended}"));
            assert!(found["level"] == "warn" && found.to_string().contains(words), "{found}");
        }
        aws.say(|said| *said = well.clone());
    }
    // Each check that needs the list reports that there is none, and hides no other.
    aws.say(|said| said.made = None);
    for check in ["events mapping", "dead letters", "alarms"] {
        let (level, told) = aws.examined(0, check);
        assert!(level == "warn" && told.contains("cloudformation:ListStackResources"), "{told}");
    }
    assert_eq!(aws.examined(0, "event bus").0, "ok");
}

#[test]
fn an_alarm_is_made_to_ring_once_if_anybody_is_told() {
    let aws = Aws::new();
    let ring = |code: i32| {
        let ended = run(aws.command(&["doctor", "--test-alarm", "--json"]));
        ended.expect(code);
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        json["checks"].as_array().unwrap().last().unwrap().clone()
    };
    aws.say(|said| {
        said.alarms.insert(0, ("threads-auth-rings", "ALARM", true));
        said.alarms.insert(0, ("threads-auth-blind", "INSUFFICIENT_DATA", true));
        said.alarms.insert(0, ("threads-auth-mute", "OK", false));
        said.made = Some(said.alarms.iter().map(|(name, ..)| *name).collect());
    });
    let told = ring(1);
    assert_eq!((text(&told, "/check"), text(&told, "/level")), ("test alarm", "ok"));
    assert!(text(&told, "/detail").contains("the subscribers of alarms get"), "{told}");
    let set = std::mem::take(&mut aws.said.lock().unwrap().rung);
    assert_eq!(set.len(), 2);
    let of = |said: &str, parts: [&str; 3]| parts.iter().all(|part| said.contains(part));
    assert!(of(&set[0], ["threads-auth-sweep-missed", "ALARM", "TEST"]), "{set:?}");
    assert!(of(&set[1], ["threads-auth-sweep-missed", "OK", "is over"]), "{set:?}");

    // No message is sent twice, or without a subscriber.
    aws.say(|said| said.alarms.retain(|(name, ..)| name.ends_with("rings")));
    assert!(text(&ring(1), "/detail").contains("rings already"));
    aws.say(|said| said.alarms = vec![("threads-auth-mute", "OK", false)]);
    let told = ring(1);
    assert!(text(&told, "/level") == "fail" && text(&told, "/next").contains("AlarmEmail"), "{told}");
    assert!(aws.said.lock().unwrap().rung.is_empty());
    // Without the flag none is.
    run(aws.command(&["doctor"])).expect(1);
    assert!(aws.said.lock().unwrap().rung.is_empty());
    aws.local.run(&["doctor", "--test-alarm"]).says(2, &["has no alarms"]);
}

#[test]
fn the_doctor_calls_nothing_wrong_that_it_may_not_read() {
    let aws = Aws::new();
    let mut command = aws.command(&["doctor", "--json"]);
    // Here nobody may read a secret.
    command.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &aws.url);
    let found = run(command).json();
    assert_eq!(found["ok"], true);
    for check in found["checks"].as_array().unwrap().iter().skip(1).take(2) {
        assert_eq!(text(check, "/level"), "warn", "{found}");
        assert!(text(check, "/next").contains("secretsmanager:GetSecretValue"), "{found}");
    }
}

#[test]
fn a_sweep_is_made_by_the_function() {
    let aws = Aws::new();
    let report = json!({"outcomes": {"refreshed": 2}, "oldest_overdue_seconds": 0, "weakest_token_days": 59, "unreadable_shards": 0});
    let ended = aws.invoked(200, "", &report);
    ended.expect(0);
    assert!(
        ended.stdout.contains("2  refreshed") && ended.stdout.contains("lives for 59 more days"),
        "{ended:?}"
    );
    let json = run(aws.command(&["sweep", "--invoke", "--json", "--budget", "60"])).json();
    assert_eq!(json, report);
    assert_eq!(aws.said.lock().unwrap().events, ["{}", "{\"max_seconds\":60}"]);
    let rest = json!({"outcomes": {"deferred": 1}, "stopped": "deadline", "unreadable_shards": 0});
    let ended = aws.invoked(200, "", &rest);
    ended.expect(4);
    assert!(ended.stdout.contains("It ended early; 0 are left"), "{ended:?}");
    aws.invoked(200, "", &json!({"outcomes": {"undecryptable": 1}, "unreadable_shards": 0})).expect(1);

    // It needs no secret, which the function opens by itself.
    aws.local.put_secret(&aws.local.stack.urls().keyring_secret_id, "{}");
    aws.invoked(200, "", &report).expect(0);
}

#[test]
fn a_function_that_does_not_sweep_is_explained() {
    let aws = Aws::new();
    let message = |text: &str| json!({"message": text});
    let failure = |kind: &str, text: &str| json!({"errorType": kind, "errorMessage": text});
    for (status, error, body, code, said) in [
        (
            200,
            "Unhandled",
            failure("RefreshError", "the sweep has no secrets"),
            1,
            "threads-auth-refresh failed",
        ),
        (
            200,
            "Unhandled",
            failure("Sandbox.Timedout", "Task timed out after 900.00 seconds"),
            4,
            "was cut off",
        ),
        (200, "", json!("hello"), 1, "is malformed"),
        (429, "TooManyRequestsException", message("Rate Exceeded."), 4, "is busy"),
        (500, "ServiceException", message("internal"), 4, "could not invoke"),
        (403, "AccessDeniedException", message("no"), 1, "lambda:InvokeFunction"),
        (404, "ResourceNotFoundException", message("Function not found"), 1, "deploy the stack again"),
    ] {
        aws.invoked(status, error, &body).says(code, &[said]);
    }
    // None of them was invoked a second time.
    assert_eq!(aws.said.lock().unwrap().events.len(), 7);
    let mut command = aws.command(&["sweep", "--invoke"]);
    command.env("AWS_ENDPOINT_URL_LAMBDA", format!("http://{NOWHERE}"));
    run(command).says(4, &["Lambda does not answer"]);
    aws.local.run(&["sweep", "--invoke"]).says(2, &["omit --invoke", "--stack"]);
    aws.say(|said| said.outputs.retain(|(name, _)| *name != "RefreshFunctionName"));
    run(aws.command(&["sweep", "--invoke"])).says(1, &["has no output RefreshFunctionName"]);
}

#[test]
fn a_sweep_of_the_functions_is_watched_and_waited_for_no_longer() {
    let aws = Aws::at(Clock::frozen(Clock::system().now() - 45 * DAY));
    // By this machine's clock her token is due.
    aws.local.account(ADA);
    let held = aws.function.blocking_lock();
    let mut session =
        spawn_command(aws.command(&["sweep", "--invoke"]), u64::try_from(HANG.as_millis()).ok()).unwrap();
    session.exp_string("0 of 1").unwrap();
    aws.local.run(&["accounts", "disconnect", ADA, "--yes"]).expect(0);
    session.exp_string("1 of 1").unwrap();
    aws.say(|said| said.invoked.2 = json!({"outcomes": {}, "unreadable_shards": 0}).to_string());
    drop(held);
    session.exp_string("Nothing was due.").unwrap();
    session.exp_eof().unwrap();

    let _held = aws.function.blocking_lock();
    let running = Running::start(aws.command(&["sweep", "--invoke"]));
    while aws.said.lock().unwrap().events.len() < 2 {
        std::thread::yield_now();
    }
    running.end_by("INT").says(130, &["threads-auth-refresh continues by itself"]);
}

fn resources(said: &Said, body: &str) -> Response {
    let Some(made) = &said.made else {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        return (StatusCode::FORBIDDEN, error).into_response();
    };
    let others = [
        ("AWS::Lambda::EventSourceMapping", "mapping-1"),
        ("AWS::SQS::Queue", "https://sqs/1/sweep-letters"),
        ("AWS::SQS::Queue", "https://sqs/1/events-letters"),
    ];
    let webhooks = [
        ("AWS::Lambda::EventSourceMapping", "mapping-2"),
        ("AWS::SQS::Queue", "https://sqs/1/webhook-queue"),
        ("AWS::SQS::Queue", "https://sqs/1/webhook-letters"),
    ];
    let others = others.into_iter().chain(webhooks.into_iter().filter(|_| said.posting.is_some()));
    // Two pages.
    let is_first = !body.contains("NextToken=");
    let next = if is_first { "<NextToken>2</NextToken>" } else { "" };
    let made = made.iter().map(|name| ("AWS::CloudWatch::Alarm", *name)).filter(|_| !is_first);
    let made: Vec<_> = made
        .chain(others.filter(|_| is_first))
        .map(|(kind, name)| format!("<member><ResourceType>{kind}</ResourceType><PhysicalResourceId>{name}</PhysicalResourceId><LogicalResourceId>A</LogicalResourceId><LastUpdatedTimestamp>2026-01-01T00:00:00Z</LastUpdatedTimestamp><ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>"))
        .collect();
    format!(
        "<ListStackResourcesResponse><ListStackResourcesResult><StackResourceSummaries>{}</StackResourceSummaries>{next}</ListStackResourcesResult></ListStackResourcesResponse>",
        made.concat()
    )
    .into_response()
}
