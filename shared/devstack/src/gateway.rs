//! What API Gateway does: HTTP in, an event to a function, its answer back.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use http::Method;
use jiff::Timestamp;
use lambda_edge::HttpRequest;
use lambda_edge::apigw::ApiGatewayV2httpResponse;
use serde_json::{Value, json};
use threads_auth::pages::{self, Notice, Page};
use threads_auth::seal::random_text;

use crate::stack::Shared;

/// API Gateway's limit for the request line and all headers together.
const MAX_HEADERS: usize = 10_240;
const MAX_BODY: usize = 1024 * 1024;

/// The functions behind the gateway.
#[derive(Clone, Copy)]
enum Function {
    Authorize,
    Callback,
    Deauthorize,
    Deletion,
}

/// The routes, as the production template declares them.
fn route(method: &Method, path: &str) -> Option<Function> {
    match (method, path) {
        (&Method::GET, "/authorize") => Some(Function::Authorize),
        (&Method::GET, "/callback" | "/connected" | "/finishing") => Some(Function::Callback),
        (&Method::POST, "/deauthorize") => Some(Function::Deauthorize),
        (&Method::POST, "/data-deletion") => Some(Function::Deletion),
        (&Method::GET, path) if is_deletion_status(path) => Some(Function::Deletion),
        _ => None,
    }
}

/// Whether `path` is `/data-deletion/{code}`.
fn is_deletion_status(path: &str) -> bool {
    path.strip_prefix("/data-deletion/")
        .is_some_and(|code| !code.is_empty() && !code.contains('/'))
}

/// Answers whatever is not the development page's own.
pub(crate) async fn answer(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(function) = route(request.method(), request.uri().path()) else {
        return page(Notice::NotFound);
    };
    let (parts, body) = request.into_parts();
    let line = parts.method.as_str().len() + parts.uri.to_string().len() + " HTTP/1.1\r\n ".len();
    let fields: usize = parts
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if line + fields > MAX_HEADERS {
        return pages::secure(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
    }
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return pages::secure(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    let event = event(&parts, &body, peer, shared.clock.now());
    let Ok(request) = HttpRequest::from_event(event) else {
        return page(Notice::BadLink);
    };
    let (service, now) = (&*shared.service, shared.clock.now());
    let response = match function {
        Function::Authorize => authorize::handle(service, &request, now).await,
        Function::Callback => callback::handle(service, &request, now).await,
        Function::Deauthorize => deauthorize::handle(service, &request, now).await,
        Function::Deletion => deletion::handle(service, &request, now).await,
    };
    http_response(lambda_edge::answer(response))
}

/// The event of payload format 2.0.
fn event(parts: &http::request::Parts, body: &[u8], peer: SocketAddr, now: Timestamp) -> Value {
    let mut headers = serde_json::Map::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        // API Gateway hands on what is no UTF-8 byte by byte.
        let text: String = value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
        if name == header::COOKIE {
            cookies.extend(text.split(';').map(|cookie| cookie.trim().to_owned()));
            continue;
        }
        let joined = match headers.get(name.as_str()).and_then(Value::as_str) {
            Some(first) => format!("{first},{text}"),
            None => text,
        };
        headers.insert(name.as_str().to_owned(), joined.into());
    }
    let (body, is_base64) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64_STANDARD.encode(body), true),
    };
    let path = parts.uri.path();
    let route = format!("{} {path}", parts.method);
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "development",
            "domainName": host,
            "domainPrefix": "development",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": headers.get("user-agent").and_then(Value::as_str).unwrap_or_default(),
            },
            "requestId": random_text::<9>().unwrap_or_default(),
            "routeKey": route,
            "stage": "$default",
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": is_base64,
    });
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !body.is_empty() {
        event["body"] = body.into();
    }
    event
}

fn http_response(answer: ApiGatewayV2httpResponse) -> Response {
    let body = match answer.body {
        Some(lambda_edge::Body::Text(text)) => Body::from(text),
        Some(lambda_edge::Body::Binary(bytes)) => Body::from(bytes),
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    let status = u16::try_from(answer.status_code)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answer.headers;
    let cookies = answer
        .cookies
        .iter()
        .filter_map(|cookie| HeaderValue::from_str(cookie).ok());
    response
        .headers_mut()
        .extend(cookies.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

fn page(notice: Notice) -> Response {
    pages::respond(&Page::new(notice)).map(Body::from)
}
