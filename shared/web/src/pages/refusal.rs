//! The response to a refused connect, with the links that may help the person.

use http::Response;
use threads_auth::{AuthorizeAccess, Config, ConnectOutcome, ConnectRefusal, Flow, error_chain};
use url::form_urlencoded;

use super::look::{SAME_PAGE, respond};
use super::notice::Notice;
use super::page::Page;
use super::reader::Reader;
use crate::request::HttpRequest;

/// Logs the error of a refused connect, and returns its page.
#[must_use]
pub fn refuse(config: &Config, request: &HttpRequest, refused: &ConnectRefusal) -> Response<String> {
    log(request, refused);
    let flow = refused.flow.as_deref().or(refused.doubtful.as_deref());
    respond(&page_of(config, refused), &Reader::of(config, request).in_flow(flow))
}

/// Logs the error of a refused connect.
pub(crate) fn log(request: &HttpRequest, refused: &ConnectRefusal) {
    tracing::warn!(
        request_id = request.request_id,
        outcome = refused.reason.outcome().as_str(),
        error = error_chain(&refused.reason)
    );
}

/// Refuses a prefetch, if the request is one: nothing is done, and the browser repeats the request
/// when the person opens the page.
#[must_use]
pub fn refuse_prefetch(config: &Config, request: &HttpRequest) -> Option<Response<String>> {
    if !request.is_prefetch {
        return None;
    }
    let notice = Notice::Prefetch;
    tracing::info!(request_id = request.request_id, outcome = notice.as_str());
    Some(respond(&Page::new(notice), &Reader::of(config, request)))
}

/// Returns the page for a refusal, with the links that may help the person.
fn page_of(config: &Config, refused: &ConnectRefusal) -> Page {
    if refused.is_repeatable() {
        return Page { restart: Some(SAME_PAGE.to_owned()), ..Page::new(refused.reason.outcome()) };
    }
    let (outcome, flow) = (refused.reason.outcome(), refused.flow.as_deref());
    let back = refused.way_back(&config.return_to);
    // With several open flows only the app knows the right one to start again.
    let is_known = refused.doubtful.is_none();
    let restart = restart(outcome, flow, back.is_some(), config.authorize_access).filter(|_| is_known);
    Page { restart, back, ..Page::new(outcome) }
}

/// Returns the path to start again, if that can help.
fn restart(
    outcome: ConnectOutcome,
    flow: Option<&Flow>,
    has_way_back: bool,
    access: AuthorizeAccess,
) -> Option<String> {
    Notice::from(outcome).again()?;
    let is_open = access == AuthorizeAccess::Open;
    let Some(flow) = flow else {
        return is_open.then(|| "/authorize".to_owned());
    };
    // A spent state has closed its session.
    let is_admitted = flow.session_id.as_ref().map_or(is_open, |_| outcome != ConnectOutcome::Replayed);
    // Starting again is useless if the return address is no longer allowed.
    let leads_on = flow.return_to.is_none() || has_way_back;
    (is_admitted && leads_on).then(|| restart_path(flow))
}

/// Returns the path that starts the same flow again.
fn restart_path(flow: &Flow) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(id) = &flow.session_id {
        query.append_pair("session", id);
    } else {
        query.append_pair("scopes", &flow.scopes.to_string());
        if let Some(return_to) = &flow.return_to {
            query.append_pair("return_to", return_to);
        }
    }
    if let Some(language) = flow.language {
        query.append_pair("ui_locales", language.as_str());
    }
    format!("/authorize?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use threads_graph::Scopes;

    use super::*;
    use crate::pages::tests::RESTARTABLE;

    /// Returns the outcomes whose page has a button to start again, and its target.
    fn offered(
        flow: Option<&Flow>,
        has_way_back: bool,
        access: AuthorizeAccess,
    ) -> (Vec<&'static str>, String) {
        let mut ways: Vec<_> = Vec::new();
        let mut outcomes = Vec::new();
        for outcome in ConnectOutcome::ALL {
            if let Some(way) = restart(outcome, flow, has_way_back, access) {
                outcomes.push(outcome.as_str());
                ways.push(way);
            }
        }
        ways.dedup();
        (outcomes, ways.join(" "))
    }

    #[test]
    fn a_page_offers_a_start_only_where_that_can_help() {
        let all = RESTARTABLE;
        let but_replayed: Vec<_> = all.into_iter().filter(|outcome| *outcome != "replayed").collect();
        let (session, open) = (AuthorizeAccess::Session, AuthorizeAccess::Open);
        let nothing = (Vec::new(), String::new());
        let mut flow = Flow::begin(Scopes::default(), Timestamp::UNIX_EPOCH).unwrap();

        assert_eq!(offered(None, false, session), nothing);
        assert_eq!(offered(None, false, open), (all.to_vec(), "/authorize".to_owned()));

        // Without a session.
        let again = "/authorize?scopes=threads_basic".to_owned();
        assert_eq!(offered(Some(&flow), false, open), (all.to_vec(), again.clone()));
        assert_eq!(offered(Some(&flow), false, session), nothing, "the door was closed meanwhile");
        flow.return_to = Some("https://app.example/done".to_owned());
        let again = format!("{again}&return_to=https%3A%2F%2Fapp.example%2Fdone");
        assert_eq!(offered(Some(&flow), true, open), (all.to_vec(), again));
        assert_eq!(offered(Some(&flow), false, open), nothing, "its address is not allowed any more");

        // In a session.
        flow.session_id = Some("abc".to_owned());
        for access in [session, open] {
            let again = "/authorize?session=abc".to_owned();
            assert_eq!(offered(Some(&flow), true, access), (but_replayed.clone(), again));
            assert_eq!(offered(Some(&flow), false, access), nothing);
        }
    }
}
