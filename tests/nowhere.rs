//! Requests that no route takes: a path that does not exist, or a method that its path does not
//! have.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use threads_auth::{Config, ThreadsAuth};
use threads_auth_web::HttpRequest;

use crate::fixture::{Browser, Reply, calls, rows, stack};
use crate::iam;

/// Paths that people and robots ask for.
const OF_PEOPLE: [&str; 14] = [
    "/nowhere",
    "/robots.txt",
    "/favicon.ico",
    "/.well-known/security.txt",
    "/authorize/",
    "/authorize/x",
    "/callback/x",
    "//callback",
    "/connected/",
    "/data-deletion",
    "/data-deletion/a/b",
    "/usersx",
    "/sessionsx/a",
    "/Users",
];
/// Paths that programs call.
const OF_PROGRAMS: [&str; 7] = [
    "/sessions/",
    "/sessions/a/b/c",
    "/sessions/a/complete/",
    "/users/",
    "/users/a/",
    "/users//token",
    "/users/a/b/c",
];

/// A page for people, JSON for programs, and no headers that would let another site in.
fn assert_nowhere(reply: &Reply, method: &Method, path: &str, is_page: bool) {
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}: {reply:?}");
    let kind = if is_page { "text/html; charset=utf-8" } else { "application/json" };
    assert_eq!(reply.headers["content-type"], kind, "{method} {path}");
    let is_let_in =
        |name: &str| name.starts_with("access-control-") || ["set-cookie", "allow"].contains(&name);
    assert!(!reply.headers.keys().any(|name| is_let_in(name.as_str())), "{method} {path}: {reply:?}");
    if reply.body.is_empty() {
        assert_eq!(method, Method::HEAD, "{path}");
    } else if is_page {
        assert!(reply.is_page("not_found") && !reply.body.contains("<a "), "{method} {path}: {reply:?}");
    } else {
        let error = json!({"code": "not_found", "message": "there is no such route"});
        assert_eq!(serde_json::from_str::<Value>(&reply.body).unwrap(), json!({"error": error}));
    }
}

/// API Gateway looks for the route first, and the authorization is the route's. So it is with
/// `$default`, which takes the rest, signed or not.
#[tokio::test]
async fn what_no_route_takes_has_a_page_for_people_and_an_error_for_programs() {
    let stack = stack().await;
    let before = rows(&stack).await;
    let ask = async |method: &Method, path: &str| {
        let url = format!("{}{path}", stack.urls().service_url);
        Browser::new().send(method.clone(), &url, HeaderMap::new(), String::new()).await
    };
    let mut answered = 0;
    let methods = [Method::GET, Method::POST, Method::PUT, Method::OPTIONS, Method::HEAD, Method::TRACE];
    for path in OF_PEOPLE.into_iter().chain(OF_PROGRAMS) {
        for method in &methods {
            // It has a GET, and Meta posts to the other.
            if path == "/data-deletion" && method == Method::POST {
                continue;
            }
            assert_nowhere(&ask(method, path).await, method, path, OF_PEOPLE.contains(&path));
            answered += 1;
        }
    }
    for (method, path, is_page) in [
        (Method::POST, "/authorize", true),
        (Method::HEAD, "/authorize", true),
        (Method::OPTIONS, "/callback", true),
        (Method::GET, "/deauthorize", true),
        (Method::PUT, "/sessions", false),
        (Method::OPTIONS, "/sessions", false),
        (Method::DELETE, "/sessions/a", false),
        (Method::POST, "/users", false),
        (Method::PATCH, "/sessions/a", false),
        (Method::HEAD, "/users/a/token", false),
        // No route as it was sent, and a path of programs once it is decoded.
        (Method::GET, "/%75sers/a", false),
    ] {
        for reply in [ask(&method, path).await, iam::call(&stack, method.clone(), path, "").await] {
            assert_nowhere(&reply, &method, path, is_page);
            answered += 1;
        }
    }
    assert_eq!((rows(&stack).await, calls(&stack)), (before, 0));
    println!(
        "threat cost-amplification: {answered} requests that no route takes: 404, 0 writes, 0 calls to Meta"
    );
}

/// The function that answers has neither tables nor secrets here.
#[tokio::test]
async fn what_no_route_takes_reads_nothing() {
    let stack = stack().await;
    let mut variables = stack.variables().clone();
    for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_SECRETS_MANAGER"] {
        variables.insert(name.to_owned(), "http://127.0.0.1:9".to_owned());
    }
    let service = ThreadsAuth::new(Config::from_vars(&variables, None).unwrap()).unwrap();
    // In development this one is another page.
    for path in ["/"].into_iter().chain(OF_PEOPLE).chain(OF_PROGRAMS) {
        let request = HttpRequest {
            method: Method::POST,
            path: path.to_owned(),
            route: String::new(),
            raw_query: "code=a&state=b&session=c".to_owned(),
            cookies: vec!["threads-auth-x=y".to_owned()],
            body: b"signed_request=a.b".to_vec(),
            request_id: "test".to_owned(),
            is_prefetch: false,
            accept_language: String::new(),
            origin: None,
            caller: None,
        };
        let response = callback::handle(&service, &request, stack.clock().now()).await;
        let (parts, body) = response.into_parts();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        assert_nowhere(&reply, &Method::POST, path, !OF_PROGRAMS.contains(&path));
    }
}
