//! Junk costs no write and no call to Meta.

use std::collections::BTreeMap;

use super::common::{assert_untouched, invoke};
use crate::fixture::{Browser, account, parameter, stack};

fn hex_free(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[tokio::test]
async fn threat_junk_costs_nothing() {
    let stack = stack().await;
    let mut browser = Browser::new();
    // A real flow is open, so that junk has something to be mistaken for.
    let back = browser.consent(&stack, "", &account(&stack, "ada")).await;
    let (state, value) = (parameter(&back, "state"), browser.jar.values().next().unwrap().clone());
    let junk = |n: usize| {
        let text = threads_auth_model::seal::random_text::<32>().unwrap();
        match n % 10 {
            0 => ("/callback", format!("code={text}&state={text}"), vec![]),
            1 => ("/callback", format!("code={text}&state={state}"), vec![]),
            2 => (
                "/callback",
                format!("code={text}&state={state}"),
                vec![format!("threads-auth-{}={value}", &text[..8])],
            ),
            3 => ("/callback", format!("error={text}&state={text}"), vec![]),
            4 => (
                "/callback",
                "error=access_denied".to_owned(),
                vec![format!("threads-auth-{}={text}", &text[..8])],
            ),
            5 => ("/callback", text, vec![]),
            6 => ("/authorize", format!("session={}", &text[..32]), vec![]),
            7 => ("/authorize", format!("return_to=https://{}.example/", hex_free(&text)), vec![]),
            8 => ("/authorize", String::new(), vec![format!("threads-auth-{}={text}", &text[..8])]),
            _ => ("/connected", text, vec![]),
        }
    };
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for n in 0..10_000 {
        let (path, query, jar) = junk(n);
        *statuses.entry(invoke(&stack, path, &query, &jar).await.status.as_u16()).or_default() += 1;
    }
    for n in 0..300 {
        let (path, query, jar) = junk(n);
        let jar = jar
            .iter()
            .filter_map(|cookie| cookie.split_once('='))
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .collect();
        let url = format!("{}{path}?{query}", stack.urls().service_url);
        let mut browser = Browser::new();
        browser.jar = jar;
        let status = browser.get(&url).await.status;
        *statuses.entry(status.as_u16()).or_default() += 1;
    }
    assert_untouched(&stack).await;
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    println!("threat cost-amplification: 10,300 junk requests {statuses:?}: 0 writes, 0 calls to Meta");
}
