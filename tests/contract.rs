//! The contract and the examples: the OpenAPI document has the routes that there are, and the Rust example does what it says.

use std::collections::BTreeSet;

use devstack::Stack;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::process::Command;

use crate::fixture::{Browser, account, parameter, stack};
use crate::iam;

const DOCUMENT: &str = include_str!("../functions/openapi.yaml");
const EXAMPLE: &str = env!("CARGO_BIN_EXE_example-backend");

/// The document's methods and paths. Its form is checked by others; here it is enough to know where they stand.
fn documented() -> BTreeSet<(Method, String)> {
    let mut routes = BTreeSet::new();
    let mut path = None;
    let lines = DOCUMENT.lines().skip_while(|line| *line != "paths:").skip(1);
    for line in lines.take_while(|line| line.starts_with(' ')) {
        if let Some(found) = line.strip_prefix("  /").and_then(|rest| rest.strip_suffix(':')) {
            path = Some(format!("/{found}"));
        } else if let Some(method) = line.strip_prefix("    ").and_then(|rest| rest.strip_suffix(':'))
            && ["get", "post", "put", "patch", "delete"].contains(&method)
        {
            let method = method.to_uppercase().parse().unwrap();
            routes.insert((method, path.clone().unwrap()));
        }
    }
    routes
}

async fn exists(stack: &Stack, method: &Method, path: &str) -> bool {
    let path = path
        .replace("{user_id}", "17841499999999999")
        .replace("{id}", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        .replace("{code}", "0123456789abcdef0123456789abcdef");
    let reply = iam::call(stack, method.clone(), &path, "").await;
    let is_gateways = reply.body == r#"{"message":"Not Found"}"#;
    !(reply.status == StatusCode::NOT_FOUND && (is_gateways || reply.is_page("not_found")))
}

#[tokio::test]
async fn the_document_has_the_routes_that_there_are() {
    let stack = stack().await;
    let documented = documented();
    assert_eq!(documented.len(), 14);
    let paths: BTreeSet<&String> = documented.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let is_documented = documented.contains(&(method.clone(), path.clone()));
            assert_eq!(
                exists(&stack, &method, path).await,
                is_documented,
                "{method} {path}"
            );
        }
    }
    let url = format!("{}/dev/openapi.yaml", stack.urls().service_url);
    assert_eq!(Browser::new().get(&url).await.body, DOCUMENT);
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
    (
        output.status.success(),
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")),
    )
}

#[tokio::test]
async fn the_rust_example_does_what_it_says() {
    let stack = stack().await;
    let ada = account(&stack, "ada");
    let (_, session) = example(&stack, &["start", "user-7"]).await;
    let id = session["id"].as_str().unwrap();
    let mut browser = Browser::new();
    let back = browser.consent(&stack, &format!("session={id}"), &ada).await;
    let location = browser.get(back.as_str()).await.location();
    let completion = parameter(&location, "completion");
    assert!(!example(&stack, &["complete", id, "no such code"]).await.0);
    let (done, connected) = example(&stack, &["complete", id, &completion]).await;
    assert!(done && connected["user_id"] == ada.as_str(), "{connected}");
    let (_, vended) = example(&stack, &["token", &ada]).await;
    assert_eq!(vended["access_token"], crate::fixture::token(&stack, &ada).await);
    iam::call(&stack, Method::DELETE, &format!("/users/{ada}"), "").await;
    let (_, session) = example(&stack, &["token", &ada]).await;
    assert_eq!(session["status"], "open");
}
