//! An event, as a webhook or EventBridge brings it.

use serde_json::{Value, json};
use threads_auth_client::{Change, Event};

pub(crate) fn run(data: &[u8]) {
    let Ok(event) = Event::parse(data) else { return };
    // A field that nobody reads may hold what is no text.
    let Ok(read) = serde_json::from_slice::<Value>(data) else { return };
    let detail = read.get("detail").filter(|detail| !detail.is_null()).unwrap_or(&read);
    assert_eq!(detail["id"], event.id.as_str());
    assert_eq!(detail["user_id"].as_str().map(str::len), Some(event.user_id.as_str().len()));
    assert!((1..=32).contains(&event.user_id.as_str().len()));
    let envelope = json!({"version": "0", "source": "threads-auth", "detail": detail});
    assert_eq!(Event::parse(envelope.to_string().as_bytes()).unwrap(), event);
    assert_eq!(Event::parse(detail.to_string().as_bytes()).unwrap(), event);
    if let Some(order) = &event.order {
        assert!(!order.as_str().is_empty() && order.as_str().bytes().all(|byte| byte.is_ascii_digit()));
        assert!(order.as_str() == "0" || !order.as_str().starts_with('0'));
    }
    if let Change::Other { kind, .. } = &event.change {
        assert_eq!(detail["type"], kind.as_str());
    }
}
