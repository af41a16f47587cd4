//! A call's parameters, from every place: query string, form or JSON body, `Authorization: Bearer`.
//!
//! Meta documents forms for POST, multipart ones in its examples, and the query for GET;
//! ThreadsPipe sends JSON and is answered. A repeated parameter's last value wins, and the body
//! wins over the query.

use std::collections::HashMap;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;
use url::form_urlencoded;

/// Far above any real call's size.
const MAX_BODY: usize = 64 * 1024;

/// A request, read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The media type without parameters.
    pub(crate) content_type: Option<String>,
    pub(crate) params: Params,
}

/// The body is larger than the sandbox reads, or the client stopped sending it.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl Call {
    pub(crate) async fn read(request: Request) -> Result<Self, Unreadable> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, MAX_BODY).await.map_err(|_| Unreadable)?;
        let content_type = media_type(&parts.headers);
        let mut params = Params::read(&parts.uri, &parts.headers, content_type.as_deref(), &body);
        let method = parts.method.clone();
        if content_type.as_deref() == Some("multipart/form-data") {
            params.read_multipart(Request::from_parts(parts, Body::from(body))).await;
        }
        Ok(Self { method, content_type, params })
    }
}

/// Names and values, each name once.
#[derive(Debug, Default)]
pub(crate) struct Params(HashMap<String, String>);

impl Params {
    fn read(uri: &Uri, headers: &HeaderMap, content_type: Option<&str>, body: &Bytes) -> Self {
        let mut values = HashMap::new();
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, token)) = bearer.and_then(|value| value.split_once(' '))
            && scheme.eq_ignore_ascii_case("bearer")
        {
            values.insert("access_token".to_owned(), token.trim().to_owned());
        }
        values.extend(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned());
        match content_type {
            Some("application/json") => {
                // JSON other than an object has no parameters: the call then misses them, as it
                // would at Meta.
                if let Ok(Value::Object(object)) = serde_json::from_slice(body) {
                    values
                        .extend(object.into_iter().filter_map(|(name, value)| Some((name, scalar(value)?))));
                }
            }
            Some("multipart/form-data") => {}
            _ => values.extend(form_urlencoded::parse(body).into_owned()),
        }
        Self(values)
    }

    /// Adds a multipart form's fields, as far as it can be read.
    async fn read_multipart(&mut self, request: Request) {
        let Ok(mut form) = Multipart::from_request(request, &()).await else {
            return;
        };
        while let Ok(Some(field)) = form.next_field().await {
            let name = field.name().map(str::to_owned);
            if let (Some(name), Ok(value)) = (name, field.text().await) {
                self.0.insert(name, value);
            }
        }
    }

    /// A parameter's value, an empty one included.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The access token, if there is one.
    pub(crate) fn access_token(&self) -> Option<&str> {
        self.get("access_token").filter(|token| !token.is_empty())
    }

    /// A parameter's value, the empty text when it is absent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }
}

/// A JSON scalar as the text a form would have carried. Numbers count, since many clients send app
/// ids as numbers.
fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
