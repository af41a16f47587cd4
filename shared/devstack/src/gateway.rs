//! The local API Gateway: converts an HTTP request to a function's event, and its answer back. The
//! routes with IAM authorization have a door of their own.

use std::net::SocketAddr;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use http::Method;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use threads_auth::ConnectOutcome;
use threads_auth_model::seal::random_text;
use threads_auth_web::HttpRequest;
use threads_auth_web::apigw::ApiGatewayV2httpResponse;
use threads_auth_web::headers::secure;
use threads_auth_web::pages::{self, Page, Reader};
use threads_auth_web::refuse_detour;
use tracing::Instrument;

use crate::environment::{ACCESS_KEY_ID, ACCOUNT_ID};
use crate::shared::Shared;
use crate::sigv4::Refused;

/// API Gateway's limit for the request line and all headers together, in bytes.
const MAX_HEADERS: usize = 10_240;
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// The user id of the development access key.
const USER_ID: &str = "AIDATHREADSAUTHDEV00";

/// The functions behind the gateway.
#[derive(Clone, Copy)]
enum Function {
    Authorize,
    Callback,
    Deauthorize,
    Deletion,
    Sessions,
    Token,
    /// The `$default` route, for every other path.
    Nowhere,
}

impl Function {
    /// Returns true if its routes are for the app's backend, and so have IAM authorization.
    fn is_private(self) -> bool {
        matches!(self, Self::Sessions | Self::Token)
    }
}

/// The routes, as in the production template. Other methods of a path match no route either,
/// including `HEAD` and `OPTIONS`, so no preflight is answered.
const ROUTES: [(&str, Function); 16] = [
    ("GET /authorize", Function::Authorize),
    ("GET /callback", Function::Callback),
    // The template's form of a route with a trailing slash.
    ("GET /callback/{proxy+}", Function::Callback),
    ("GET /connected", Function::Callback),
    ("GET /finishing", Function::Callback),
    ("POST /deauthorize", Function::Deauthorize),
    ("POST /data-deletion", Function::Deletion),
    ("GET /data-deletion/{code}", Function::Deletion),
    ("POST /sessions", Function::Sessions),
    ("GET /sessions/{id}", Function::Sessions),
    ("POST /sessions/{id}/complete", Function::Sessions),
    ("GET /users", Function::Token),
    ("GET /users/{user_id}", Function::Token),
    ("GET /users/{user_id}/token", Function::Token),
    ("PATCH /users/{user_id}", Function::Token),
    ("DELETE /users/{user_id}", Function::Token),
];

/// The route for every other path.
const DEFAULT: &str = "$default";

/// A route, matched as API Gateway does: by the path as it was sent, before decoding.
struct Route {
    /// Its key in the template.
    key: &'static str,
    function: Function,
    /// The path's parameters, decoded.
    parameters: serde_json::Map<String, Value>,
}

impl Route {
    fn of(method: &Method, path: &str) -> Self {
        let found = ROUTES.into_iter().find_map(|(key, function)| {
            let (wanted, route) = key.split_once(' ')?;
            let parameters = parameters(route, path).filter(|_| wanted == method.as_str())?;
            Some(Self { key, function, parameters })
        });
        found.unwrap_or(Self {
            key: DEFAULT,
            function: Function::Nowhere,
            parameters: serde_json::Map::new(),
        })
    }
}

/// Returns the parameters of a path, if it matches the route.
fn parameters(route: &str, path: &str) -> Option<serde_json::Map<String, Value>> {
    let (mut parameters, mut rest) = (serde_json::Map::new(), path.strip_prefix('/'));
    for part in route.split('/').skip(1) {
        let given = rest?;
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_suffix('+')) {
            parameters.insert(name.to_owned(), decoded(given).into());
            return Some(parameters);
        }
        let (first, others) =
            given.split_once('/').map_or((given, None), |(first, others)| (first, Some(others)));
        match name {
            Some(name) if !first.is_empty() => {
                parameters.insert(name.to_owned(), decoded(first).into());
            }
            None if first == part => {}
            _ => return None,
        }
        rest = others;
    }
    rest.is_none().then_some(parameters)
}

/// Decodes a part of a path as functions receive it: "API Gateway decodes URL-encoded request
/// parameters before passing them to your backend integration", and an HTTP API does so with
/// `rawPath`, too.
fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Returns true if a request is for a route with IAM authorization.
pub(crate) fn is_private(method: &Method, path: &str) -> bool {
    Route::of(method, path).function.is_private()
}

/// Returns the response to a request with an invalid signature.
pub(crate) fn forbidden(method: &Method, reason: &Refused) -> Response {
    let request_id = random_text::<9>().unwrap_or_default();
    tracing::warn!(request_id, %method, %reason, "a request was refused for its signature");
    // API Gateway's own response. The request id leads to the log entry.
    let body = Json(json!({"message": "Forbidden"}));
    let headers = [(HeaderName::from_static("apigw-requestid"), request_id)];
    secure((StatusCode::FORBIDDEN, headers, body).into_response())
}

/// Serves every request that is not for the development page.
pub(crate) async fn answer(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = random_text::<9>().unwrap_or_default();
    let route = Route::of(&parts.method, parts.uri.path());
    let function = route.function;
    let line = parts.method.as_str().len() + parts.uri.to_string().len() + " HTTP/1.1\r\n ".len();
    let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if line + fields > MAX_HEADERS {
        return secure(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
    }
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return secure(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    let event = event(route, &parts, &body, peer, shared.clock.now(), &request_id);
    let Ok(request) = HttpRequest::from_event(event) else {
        return pages::respond(&Page::new(ConnectOutcome::BadLink), &Reader::default()).map(Body::from);
    };
    let (service, now) = (&*shared.service, shared.clock.now());
    if let Some(refused) = refuse_detour(service.config(), &request) {
        return http_response(threads_auth_web::answer(refused));
    }
    let handled = async {
        match function {
            Function::Authorize => authorize::handle(service, &request, now).await,
            Function::Callback | Function::Nowhere => callback::handle(service, &request, now).await,
            Function::Deauthorize => deauthorize::handle(service, &request, now).await,
            Function::Deletion => deletion::handle(service, &request, now).await,
            Function::Sessions => sessions::handle(service, &request, now).await,
            Function::Token => token::handle(service, &request, now).await,
        }
    };
    let response = handled.instrument(request.span()).await;
    http_response(threads_auth_web::answer(response))
}

/// Builds the event of payload format 2.0. For a private route the signature has been checked.
fn event(
    Route { key, function, parameters }: Route,
    parts: &http::request::Parts,
    body: &[u8],
    peer: SocketAddr,
    now: Timestamp,
    request_id: &str,
) -> Value {
    let mut headers = serde_json::Map::new();
    let mut cookies = Vec::new();
    for (name, value) in &parts.headers {
        // API Gateway passes on bytes that are not UTF-8 one by one.
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
    let path = decoded(parts.uri.path());
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT_ID,
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
            "requestId": request_id,
            "routeKey": key,
            "stage": "$default",
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": is_base64,
    });
    if function.is_private() {
        event["requestContext"]["authorizer"] = identity();
    }
    if !parameters.is_empty() {
        event["pathParameters"] = parameters.into();
    }
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !body.is_empty() {
        event["body"] = body.into();
    }
    event
}

/// Returns the signer's identity, as IAM authorization passes it to a function.
fn identity() -> Value {
    json!({
        "iam": {
            "accessKey": ACCESS_KEY_ID,
            "accountId": ACCOUNT_ID,
            "callerId": USER_ID,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": format!("arn:aws:iam::{ACCOUNT_ID}:user/development"),
            "userId": USER_ID,
        },
    })
}

fn http_response(answer: ApiGatewayV2httpResponse) -> Response {
    let body = match answer.body {
        Some(threads_auth_web::Body::Text(text)) => Body::from(text),
        Some(threads_auth_web::Body::Binary(bytes)) => Body::from(bytes),
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    let status = u16::try_from(answer.status_code).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answer.headers;
    let cookies = answer.cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok());
    response.headers_mut().extend(cookies.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use threads_auth_web::apigw::ApiGatewayV2httpRequest;

    use super::*;

    #[test]
    fn a_function_hears_who_signed() {
        let event_of = |path: &str| {
            let (parts, ()) = axum::http::Request::get(path).body(()).unwrap().into_parts();
            let peer = SocketAddr::from(([127, 0, 0, 1], 9));
            let route = Route::of(&parts.method, parts.uri.path());
            let event = event(route, &parts, b"", peer, Timestamp::UNIX_EPOCH, "id");
            HttpRequest::from_event(event.clone()).unwrap();
            serde_json::from_value::<ApiGatewayV2httpRequest>(event).unwrap()
        };
        let iam = event_of("/users/1").request_context.authorizer.unwrap().iam.unwrap();
        assert_eq!(iam.access_key.as_deref(), Some(ACCESS_KEY_ID));
        assert_eq!(iam.account_id.as_deref(), Some(ACCOUNT_ID));
        assert_eq!(iam.user_arn.as_deref(), Some("arn:aws:iam::123456789012:user/development"));
        assert!(event_of("/authorize").request_context.authorizer.is_none());
        let nowhere = event_of("/nowhere").request_context;
        assert_eq!((nowhere.route_key.as_deref(), nowhere.authorizer.is_none()), (Some("$default"), true));
        // The route is matched before the path is decoded.
        let encoded = event_of("/users/1%2Ftoken");
        assert_eq!(encoded.route_key.as_deref(), Some("GET /users/{user_id}"));
        assert_eq!(encoded.raw_path.as_deref(), Some("/users/1/token"));
        assert_eq!(encoded.path_parameters["user_id"], "1/token");
        assert_eq!(encoded.request_context.route_key, encoded.route_key);
        let proxy = event_of("/callback/a/b%20c");
        assert_eq!(proxy.route_key.as_deref(), Some("GET /callback/{proxy+}"));
        assert_eq!(proxy.path_parameters["proxy"], "a/b c");
    }

    #[test]
    fn the_routes_are_those_of_the_template() {
        let template = include_str!("../../../infra/template.yaml");
        let deployed: BTreeSet<_> =
            template.lines().filter_map(|line| line.trim().strip_prefix("RouteKey: ")).collect();
        let here: BTreeSet<_> = ROUTES.into_iter().map(|(key, _)| key).chain([DEFAULT]).collect();
        assert_eq!(here, deployed);
        for (path, key) in [
            ("/callback/", "GET /callback/{proxy+}"),
            ("/users/", DEFAULT),
            ("/users//token", DEFAULT),
            ("/users/1/token/", DEFAULT),
            ("/users/1/other", DEFAULT),
            ("/users/1/token", "GET /users/{user_id}/token"),
        ] {
            assert_eq!(Route::of(&Method::GET, path).key, key, "{path}");
        }
        assert_eq!(Route::of(&Method::HEAD, "/users").key, DEFAULT);
    }
}
