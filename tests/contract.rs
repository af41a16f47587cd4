//! The contract and the examples: the OpenAPI document has exactly the existing routes, and the
//! Rust example works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use devstack::Stack;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use threads_auth::{ConnectOutcome, ReturnStatus};
use threads_auth_model::session::TOO_MANY_FAILURES;
use threads_auth_model::{Cause, FailureClass, RevokedBy, ScopesSource, SessionStatus, Status, Summary};
use threads_auth_web::{ErrorCode, api};
use threads_graph::{AccessToken, DenialReason, Scope, Scopes, UserId};
use tokio::process::Command;

use crate::fixture::{Browser, parameter, stack, stack_of_ada};
use crate::iam;

const DOCUMENT: &str = include_str!("../functions/openapi.yaml");
const EXAMPLE: &str = env!("CARGO_BIN_EXE_example-backend");

pub(crate) static CONTRACT: LazyLock<Value> = LazyLock::new(|| serde_saphyr::from_str(DOCUMENT).unwrap());

/// The document's operations, each with its method and path.
fn operations() -> impl Iterator<Item = (Method, &'static String, &'static Value)> {
    let paths = CONTRACT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        let methods = methods.filter(|(name, _)| *name != "parameters");
        methods.map(move |(method, operation)| (method.to_uppercase().parse().unwrap(), path, operation))
    })
}

async fn exists(stack: &Stack, method: &Method, path: &str) -> bool {
    let path = path
        .replace("{user_id}", "17841499999999999")
        .replace("{id}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .replace("{code}", "0123456789abcdef0123456789abcdef");
    let reply = iam::call(stack, method.clone(), &path, "").await;
    let is_nowhere = reply.is_page("not_found") || reply.body.contains(r#""code":"not_found""#);
    !(reply.status == StatusCode::NOT_FOUND && is_nowhere)
}

#[tokio::test]
async fn the_document_has_the_routes_that_there_are() {
    let stack = stack().await;
    let documented: BTreeSet<_> = operations().map(|(method, path, _)| (method, path)).collect();
    assert_eq!(documented.len(), 15);
    let paths: BTreeSet<&String> = documented.iter().map(|(_, path)| *path).collect();
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let is_documented = documented.contains(&(method.clone(), path));
            assert_eq!(exists(&stack, &method, path).await, is_documented, "{method} {path}");
        }
    }
    let url = format!("{}/dev/openapi.yaml", stack.urls().service_url);
    assert_eq!(Browser::new().get(&url).await.body, DOCUMENT);
}

/// The rows of the table of ways back in a text: what the address has, and the reasons that go with
/// it. Each is a word in code.
fn ways_back(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().map(str::trim).filter(|line| line.starts_with("| ") && line.contains("`status="));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let status =
            words(cells[1]).into_iter().find_map(|word| Some(word.strip_prefix("status=")?.to_owned()));
        (status.unwrap(), words(cells[2]).into_iter().collect())
    })
    .fold(BTreeMap::new(), |mut all, (status, reasons): (String, BTreeSet<String>)| {
        all.entry(status).or_default().extend(reasons);
        all
    })
}

#[test]
fn the_ways_back_are_as_the_document_and_the_page_say() {
    let mut ways: BTreeMap<String, BTreeSet<String>> =
        ReturnStatus::ALL.map(|status| (status.to_string(), BTreeSet::new())).into();
    for outcome in ConnectOutcome::ALL {
        let (Some(status), reason) = (outcome.return_status(), outcome.to_string()) else { continue };
        let reasons = ways.get_mut(status.as_str()).unwrap();
        match outcome {
            ConnectOutcome::Connected | ConnectOutcome::Finishing => {}
            ConnectOutcome::Denied => reasons.extend(DenialReason::ALL.map(|reason| reason.to_string())),
            _ => drop(reasons.insert(reason)),
        }
    }
    let page = include_str!("../docs/API.md");
    let callback = CONTRACT["paths"]["/callback"]["get"]["responses"]["303"]["description"].as_str().unwrap();
    for text in [page, callback] {
        assert_eq!(ways_back(text), ways);
        let forms = ["`session_id`, `completion`", "`session_id`, `status`, `reason`", "hint"];
        assert!(forms.iter().all(|form| text.contains(form)), "{text}");
    }
}

/// The operation of a method at a path, if the document has one.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let is_at = |template: &str| {
        let parts = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && parts.into_iter().all(|(part, is)| part == is || part.starts_with('{') && !is.is_empty())
    };
    let found = operations().find(|(of, template, _)| of == method && is_at(template));
    found.map(|(_, _, operation)| operation)
}

/// The examples of an answer's body.
fn examples_of(answer: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let examples = resolved(answer)["content"]["application/json"]["examples"].as_object();
    examples.into_iter().flatten().map(|(name, example)| (name.as_str(), &resolved(example)["value"]))
}

/// Asserts of an error of ours that the document lists its code where it came from. Every request
/// of every test is looked at.
pub(crate) fn assert_lists(method: &Method, url: &str, status: StatusCode, body: &str) {
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let path = url::Url::parse(url).unwrap().path().to_owned();
    // No operation has such a path, which is another one decoded.
    if path.to_ascii_lowercase().contains("%2f") {
        return;
    }
    if let (Some(code), Some(operation)) = (body["error"]["code"].as_str(), operation(method, &path)) {
        let mut codes = examples_of(&operation["responses"][status.as_str()]).map(|(name, _)| name);
        assert!(codes.any(|listed| listed == code), "{method} {path}: {status} {code}");
    }
}

#[test]
fn each_answer_lists_the_codes_of_its_status() {
    let mut listed = BTreeSet::new();
    for (method, path, operation) in operations() {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            for (name, example) in examples_of(answer) {
                let Some(code) = example["error"]["code"].as_str() else {
                    let message = StatusCode::from_bytes(status.as_bytes()).unwrap().canonical_reason();
                    assert_eq!(example, &json!({"message": message}), "{method} {path} {status}");
                    continue;
                };
                let code: ErrorCode = code.parse().unwrap();
                assert_eq!(
                    (code.as_str(), code.standing().status().as_str()),
                    (name, status.as_str()),
                    "{method} {path}"
                );
                listed.insert(code);
            }
        }
        // API Gateway can refuse, or fail at, each of them.
        for status in ["429", "500", "503"] {
            let answer = resolved(&operation["responses"][status]);
            let schema = answer["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
            assert!(schema.ends_with("GatewayMessage"), "{method} {path} {status}");
        }
    }
    let unlisted = ErrorCode::ALL.into_iter().filter(|code| !listed.contains(code));
    assert_eq!(
        unlisted.collect::<Vec<_>>(),
        [ErrorCode::NotFound],
        "where nothing is, there is no operation"
    );
}

#[test]
fn the_document_knows_each_word_that_there_is() {
    fn names<T, const N: usize>(all: [T; N], name: fn(T) -> &'static str) -> Vec<&'static str> {
        all.map(name).to_vec()
    }
    let causes = Cause::all().map(Cause::as_str).chain(RevokedBy::ALL.map(RevokedBy::as_str));
    let outcomes = ConnectOutcome::ALL.into_iter().filter(|outcome| outcome.speaks_for_session());
    let reasons = DenialReason::ALL.into_iter().map(DenialReason::as_str);
    let reasons = reasons.chain(outcomes.map(ConnectOutcome::as_str));
    let words = [
        ("ErrorCode", names(ErrorCode::ALL, ErrorCode::as_str)),
        ("AccountStatus", names(Status::ALL, Status::as_str)),
        ("ConnectedStatus", names(api::ConnectedStatus::ALL, api::ConnectedStatus::as_str)),
        ("Cause", causes.chain([api::UNKNOWN_CAUSE]).collect()),
        ("FailureClass", FailureClass::all().map(FailureClass::as_str).collect()),
        ("ScopesSource", names(ScopesSource::ALL, ScopesSource::as_str)),
        ("SessionStatus", names(SessionStatus::ALL, SessionStatus::as_str)),
        ("SessionReason", reasons.chain([TOO_MANY_FAILURES]).collect()),
    ];
    let schemas = &CONTRACT["components"]["schemas"];
    let known = schemas.as_object().unwrap().keys().filter(|name| name.starts_with("Known"));
    assert_eq!(known.count(), words.len());
    for (name, words) in words {
        let (open, known) = (&schemas[name], &schemas[format!("Known{name}")]);
        let listed: BTreeSet<_> =
            known["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(listed, words.into_iter().collect(), "{name}");
        // Any other text is accepted, since a client may be older than the service.
        assert_eq!((&open["type"], &open["enum"]), (&json!("string"), &Value::Null), "{name}");
        assert_eq!(open["x-extensible-enum"], known["enum"], "{name}");
        let meanings = known["description"].as_str().or(open["description"].as_str()).unwrap();
        assert!(listed.iter().all(|word| meanings.contains(&format!("`{word}`"))), "{name}");
    }
}

/// A body is of a schema that has a name, and so is every object in it: generators make a class of
/// each.
#[test]
fn every_body_has_a_name() {
    fn assert_named(value: &Value, at: &str) {
        assert_ne!(value["type"], "object", "{at}");
        for name in ["items", "anyOf"] {
            let inner = value[name].as_array().map_or(std::slice::from_ref(&value[name]), Vec::as_slice);
            inner.iter().filter(|inner| inner.is_object()).for_each(|inner| assert_named(inner, at));
        }
    }
    let components = CONTRACT["components"].as_object().unwrap();
    let answers = operations().flat_map(|(_, _, operation)| operation["responses"].as_object().unwrap());
    let requests = operations().map(|(_, path, operation)| (path, &operation["requestBody"]));
    for (at, body) in answers.chain(requests) {
        for (kind, content) in resolved(body)["content"].as_object().into_iter().flatten() {
            if !kind.starts_with("text/") {
                assert!(content["schema"]["$ref"].is_string(), "{at} {kind}");
            }
        }
    }
    for (name, schema) in components["schemas"].as_object().unwrap() {
        for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
            assert_named(inner, &format!("{name}.{field}"));
        }
    }
}

/// Two examples of each body: one has everything that may be there, the other nothing that can be
/// absent or null. The key is an operation of the document, and `body` or a status.
pub(crate) type Examples = BTreeMap<(&'static str, &'static str), [Value; 2]>;

pub(crate) fn examples() -> Examples {
    let user_id: UserId = "17841405793187218".parse().unwrap();
    let (time, text) = (Timestamp::UNIX_EPOCH, || "a text".to_owned());
    let scopes = Scopes::requested([Scope::Basic]);
    let url = || "https://auth.example.com/".to_owned();
    let create = |all: bool| api::NewSession {
        reference: text(),
        scopes: all.then(|| vec![Scope::Basic, "threads_new_permission".parse().unwrap()]),
        return_to: Some(text()),
        ui_locales: all.then(text),
        user_id: all.then(|| user_id.to_string()),
        expires_in: all.then_some(60),
    };
    let shown = |all: bool| api::SessionProgress {
        id: text(),
        status: SessionStatus::Open,
        reason: all.then(|| "wrong_account".to_owned()),
        expires_at: time,
    };
    let completed = |all: bool| api::ConnectedAccount {
        status: api::ConnectedStatus::Connected,
        user_id: user_id.clone(),
        username: all.then(text),
        scopes: scopes.clone(),
        expires_at: all.then_some(time),
    };
    let account = |all: bool| Summary {
        user_id: user_id.clone(),
        username: all.then(text),
        status: Status::Active,
        cause: all.then_some("password_changed"),
        scopes: scopes.clone(),
        scopes_source: ScopesSource::Granted,
        issued_at: all.then_some(time),
        expires_at: all.then_some(time),
        data_access_expires_at: all.then_some(time),
        due_at: all.then_some(time),
        refreshed_at: all.then_some(time),
        connected_at: time,
        created_at: time,
        failures: 0,
        last_error: all.then(|| "transient".to_owned()),
        pending: false,
        reference: all.then(text),
        unclaimed_until: all.then_some(time),
        suspected_at: all.then_some(time),
    };
    let accounts =
        |all: bool| api::AccountPage { users: vec![account(all)], unreadable: 0, cursor: all.then(text) };
    let needs_person = |all: bool| api::NeedsPerson {
        error: api::PersonProblem { code: ErrorCode::Revoked, message: "a text", cause: "app" },
        reconnect: api::Reconnect::new(&user_id, &scopes, all.then(url)),
    };
    let created = api::Session {
        id: text(),
        url: url(),
        expires_at: time,
        status: SessionStatus::Open,
        unknown_scopes: vec!["threads_new_permission".parse().unwrap()],
    };
    let token = api::VendedToken {
        user_id: user_id.clone(),
        access_token: AccessToken::new("a-token").unwrap(),
        token_type: "bearer",
        expires_at: time,
        scopes: scopes.clone(),
        scopes_source: ScopesSource::Granted,
    };
    let disconnected = api::Disconnected { user_id: user_id.clone(), status: Status::Revoked };
    let deleted = api::DeletionConfirmation { url: url(), confirmation_code: text() };
    let error = api::Error { error: api::Problem { code: ErrorCode::BadRequest, message: "a text" } };
    let change = |all: bool| api::AccountChange { reference: all.then(text) };
    let complete = api::SessionCompletion { completion: text(), reference: text() };
    BTreeMap::from([
        (("createSession", "body"), both(create)),
        (("createSession", "201"), both(|_| &created)),
        (("getSession", "200"), both(shown)),
        (("completeSession", "body"), both(|_| &complete)),
        (("completeSession", "200"), both(completed)),
        (("listAccounts", "200"), both(accounts)),
        (("getAccount", "200"), both(account)),
        (("assignAccount", "body"), both(change)),
        (("assignAccount", "200"), both(account)),
        (("disconnectAccount", "200"), both(|_| &disconnected)),
        (("vendToken", "200"), both(|_| &token)),
        (("vendToken", "409"), both(needs_person)),
        (("deauthorize", "200"), both(|_| api::Deauthorized {})),
        (("requestDeletion", "200"), both(|_| &deleted)),
        (("*", "error"), both(|_| &error)),
    ])
}

fn both<T: Serialize>(example: impl Fn(bool) -> T) -> [Value; 2] {
    [true, false].map(|all| serde_json::to_value(example(all)).unwrap())
}

/// Returns the target of a reference, or the value itself.
fn resolved(value: &'static Value) -> &'static Value {
    let reference = value["$ref"].as_str();
    reference.map_or(value, |path| CONTRACT.pointer(&path[1..]).unwrap())
}

/// The schemas of all bodies in JSON, by operation and status. The errors, which are many and one,
/// and those of API Gateway's own stand once, under `*`.
fn schemas() -> BTreeMap<(&'static str, &'static str), &'static Value> {
    let mut schemas = BTreeMap::new();
    for (_, _, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        let answers = operation["responses"].as_object().unwrap();
        let bodies = answers.iter().map(|(status, answer)| (status.as_str(), answer));
        for (which, body) in bodies.chain([("body", &operation["requestBody"])]) {
            let schema = &resolved(body)["content"]["application/json"]["schema"];
            match schema["$ref"].as_str() {
                Some("#/components/schemas/Error") => schemas.insert(("*", "error"), schema),
                Some(name) if !name.ends_with("GatewayMessage") => schemas.insert((id, which), schema),
                _ => None,
            };
        }
    }
    schemas
}

/// Asserts that `value` is of `schema`, and has everything that may be there (`all`), or nothing
/// that can be absent or null.
fn assert_fits(schema: &'static Value, value: &Value, all: bool, at: &str) {
    let mut schema = resolved(schema);
    let mut types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if let Some(choices) = schema["anyOf"].as_array() {
        assert_eq!(choices[1], json!({"type": "null"}), "{at}");
        schema = resolved(&choices[0]);
        types = vec![schema["type"].as_str().unwrap(), "null"];
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert_eq!(kind == "null", !all && types.contains(&"null"), "{at}: {value}");
    assert!(types.contains(&kind), "{at}: {value}");
    let words = schema["enum"].as_array().or(schema["x-extensible-enum"].as_array());
    assert!(words.is_none_or(|words| value.is_null() || words.contains(value)), "{at}: {value}");
    match value {
        Value::Object(fields) => {
            // The service refuses unknown fields, and a client must accept them.
            let is_closed = at.contains(" body");
            assert_eq!(schema["additionalProperties"].is_boolean(), is_closed, "{at}");
            let properties = schema["properties"].as_object();
            let required = schema["required"].as_array();
            let expected: BTreeSet<&str> = if all {
                properties.into_iter().flat_map(|all| all.keys().map(String::as_str)).collect()
            } else {
                required.into_iter().flatten().filter_map(Value::as_str).collect()
            };
            let is: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
            assert_eq!(is, expected, "{at}");
            for (name, inner) in fields {
                assert_fits(&schema["properties"][name], inner, all, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => {
            for item in items {
                assert_fits(&schema["items"], item, all, &format!("{at}[]"));
            }
        }
        _ => {}
    }
}

#[test]
fn every_body_is_as_the_document_says() {
    let (schemas, examples) = (schemas(), examples());
    assert_eq!(schemas.keys().collect::<Vec<_>>(), examples.keys().collect::<Vec<_>>());
    for ((key, schema), [full, least]) in schemas.into_iter().zip(examples.into_values()) {
        let at = format!("{} {}", key.0, key.1);
        assert_fits(schema, &full, true, &at);
        assert_fits(schema, &least, false, &at);
    }
}

#[test]
fn a_request_is_read_as_the_document_says() {
    fn assert_reads<T: DeserializeOwned + Serialize>(id: &'static str) {
        for body in examples().remove(&(id, "body")).unwrap() {
            let read: T = serde_json::from_value(body.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), body, "{id}");
        }
    }
    assert_reads::<api::NewSession>("createSession");
    assert_reads::<api::SessionCompletion>("completeSession");
    assert_reads::<api::AccountChange>("assignAccount");
}

async fn example(stack: &Stack, arguments: &[&str]) -> (bool, Value) {
    let urls = stack.urls();
    let output = Command::new(EXAMPLE)
        .args(arguments)
        .env("THREADS_AUTH_URL", &urls.service_url)
        .env("AWS_REGION", &urls.region)
        .env("AWS_ACCESS_KEY_ID", &urls.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &urls.secret_access_key)
        .env("RETURN_TO", "http://127.0.0.1:4000/done")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")))
}

#[tokio::test]
async fn the_rust_example_does_what_it_says() {
    let (stack, ada) = stack_of_ada().await;
    let (_, session) = example(&stack, &["start", "user-7"]).await;
    let id = session["id"].as_str().unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={id}"), &ada).await;
    let location = browser.get(back.as_str()).await.location();
    let completion = parameter(&location, "completion");
    assert!(!example(&stack, &["complete", id, "no such code", "user-7"]).await.0);
    let (done, connected) = example(&stack, &["complete", id, &completion, "user-7"]).await;
    assert!(done && connected["user_id"] == ada.as_str(), "{connected}");
    let (_, vended) = example(&stack, &["token", &ada]).await;
    assert_eq!(vended["access_token"], crate::fixture::token(&stack, &ada).await);
    crate::client::client(&stack).delete_user(&ada.parse().unwrap()).await.unwrap();
    let (_, session) = example(&stack, &["token", &ada]).await;
    assert_eq!(session["status"], "open");
}
