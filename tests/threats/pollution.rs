//! Queries that two parsers could read in two ways.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::StatusCode;

use super::common::{assert_untouched, cookies, invoke};
use crate::fixture::{Browser, calls, parameter, stack_of_ada};

/// Returns parts of queries, good and bad. The state and the code are a real flow's.
fn segments(code: &str, state: &str) -> Vec<String> {
    let mut segments: Vec<String> = [
        "code=x",
        "state=x",
        "code=",
        "state=",
        "code",
        "state",
        "error=access_denied",
        "error=",
        "error_reason=user_denied",
        "error_description=x",
        "error_code=1",
        "error_message=x",
        "%63ode=x",
        "c%6Fde=x",
        "sta%74e=x",
        "%73tate=x",
        "code%00=x",
        "code[]=x",
        "code[0]=x",
        "Code=x",
        "CODE=x",
        "code=%00",
        "code=%0d%0aset-cookie:a",
        "code=%ff",
        "code=%c3%28",
        "code=%",
        "code=%4",
        "code=%zz",
        "state=%00",
        "state=%ff",
        "+code=x",
        "code+=x",
        "%20code=x",
        ";code=x",
        "a;code=x",
        "é=1",
        "code=é",
        "\u{0}",
        "\u{7f}",
        "#",
        "?",
        "?code=x",
        "=",
        "==",
        "",
        "&",
        "%",
        "%%",
        "\r\n",
        " ",
        "a=b",
        "__proto__=x",
        "code=x;state=y",
    ]
    .map(str::to_owned)
    .into();
    for (name, value) in [("code", code), ("state", state)] {
        segments.push(format!("{name}={value}"));
        segments.push(format!("{name}={value}%00"));
        segments.push(format!("{name}={value}%20"));
        segments.push(format!("{name}={value}\u{0}"));
        segments.push(format!(" {name}={value}"));
    }
    segments
}

/// Returns true if every parser, however it resolves doubts, reads exactly one code and one state:
/// only these queries may reach Meta. An independent reading, and a crude one.
fn is_plain(query: &str) -> bool {
    let names: Vec<String> = query
        .split(['&', ';', '?'])
        .map(|pair| pair.split('=').next().unwrap().replace('+', " "))
        .map(|name| {
            url::form_urlencoded::parse(name.as_bytes())
                .next()
                .map(|(n, _)| n.into_owned())
                .unwrap_or_default()
        })
        .collect();
    let known = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
    known("code") == 1 && known("state") == 1 && !names.iter().any(|name| name.starts_with("error"))
}

#[tokio::test]
async fn threat_parameter_pollution() {
    let (stack, ada) = stack_of_ada().await;
    let mut browser = Browser::new();
    let back = browser.consent(&stack, "", &ada).await;
    let (code, state) = (parameter(&back, "code"), parameter(&back, "state"));
    let jar = cookies(&browser);
    let plain = format!("code={code}&state={state}");
    assert!(is_plain(&plain));

    // One pollution at a time, at each place of a query that is good otherwise.
    let mut hostile: BTreeSet<String> = BTreeSet::new();
    for segment in segments(&code, &state) {
        for query in [
            format!("{segment}&{plain}"),
            format!("{plain}&{segment}"),
            format!("code={code}&{segment}&state={state}"),
            format!("code={code}&{segment}"),
            format!("{segment}&state={state}"),
            segment.clone(),
        ] {
            hostile.insert(query);
        }
    }
    hostile.insert(format!("{plain}&{}", "a=b&".repeat(4_000)));
    hostile.insert(format!("code={}&state={state}", "a".repeat(2_049)));
    hostile.insert(format!("code={code}&state={}", state.repeat(12)));
    let corpus = hostile.len();

    // And at random: segments in any order, and any text at all.
    let segment = proptest::sample::select(segments(&code, &state));
    let strategy = prop_oneof![
        proptest::collection::vec(segment.clone(), 0..6).prop_map(|parts| parts.join("&")),
        proptest::collection::vec(prop_oneof![segment, any::<String>()], 0..6)
            .prop_map(|parts| parts.join("&")),
        any::<String>(),
        "[ -~]{0,300}",
    ];
    let mut runner = TestRunner::default();
    for _ in 0..3_000 {
        hostile.insert(strategy.new_tree(&mut runner).unwrap().current());
    }
    let mut ambiguous = 0;
    for query in hostile.iter().filter(|query| !is_plain(query)) {
        let reply = invoke(&stack, "/callback", query, &jar).await;
        assert!(reply.status.is_client_error(), "{query:?}: {reply:?}");
        assert_eq!(calls(&stack), 0, "{query:?} was accepted");
        ambiguous += 1;
    }
    // Those that every parser reads alike may be accepted; none of them is the good one made to
    // look bad.
    assert_untouched(&stack).await;
    assert!(ambiguous > corpus / 2 + 1_000, "{ambiguous}");
    println!(
        "threat ambiguous-parameters: {ambiguous} ambiguous or malformed queries: 0 accepted, 0 calls to Meta, 0 panics"
    );
    assert_eq!(invoke(&stack, "/callback", &plain, &jar).await.status, StatusCode::SEE_OTHER);
}
