//! A request as API Gateway hands it to a function: the event, its query and its body.

use serde::Deserialize;
use serde_json::Value;
use threads_auth_web::{HttpRequest, Query, object};
use url::form_urlencoded;

use crate::text::assert_hides;

const KNOWN: [&str; 3] = ["reference", "limit", "after"];

/// A body like those of the backend's routes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reference: String,
    #[serde(default)]
    scopes: Option<Vec<String>>,
    #[serde(default)]
    expires_in: Option<u32>,
}

pub(crate) fn run(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(request) = HttpRequest::from_event(event.clone()) else { return };
    assert_eq!(event["rawPath"], request.path.as_str());
    if request.is_of_its_route() {
        let route = request.route.split_once(' ').unwrap().1;
        assert_eq!(route.matches('/').count(), request.path.matches('/').count(), "{route} {}", request.path);
    }
    if let Some(caller) = &request.caller {
        assert_eq!(event["requestContext"]["authorizer"]["iam"]["userArn"], caller.as_str());
    }
    match Query::of(&request, &KNOWN) {
        Ok(query) => {
            for (name, value) in form_urlencoded::parse(request.raw_query.as_bytes()) {
                assert_eq!(query.get(&name), Some(value.as_ref()), "the only one of its name");
            }
            if let Ok(limit) = query.number("limit", 20, 1, 100) {
                assert!((1..=100).contains(&limit));
            }
        }
        Err(error) => {
            for (_, value) in form_urlencoded::parse(request.raw_query.as_bytes()) {
                assert_hides(&error.to_string(), &value);
            }
        }
    }
    match object::<Body>(&request) {
        Ok(body) => {
            let read: Value = serde_json::from_slice(&request.body).unwrap();
            assert!(read.is_object() && request.body.len() <= 8_192);
            assert_eq!(read["reference"], body.reference.as_str());
            assert_eq!(read["expires_in"].as_u64(), body.expires_in.map(u64::from));
            assert_eq!(read["scopes"].as_array().map(Vec::len), body.scopes.map(|scopes| scopes.len()));
        }
        Err(error) => {
            let read = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            for value in read.as_object().into_iter().flat_map(|fields| fields.values()) {
                assert_hides(&error.to_string(), value.as_str().unwrap_or_default());
            }
        }
    }
}
