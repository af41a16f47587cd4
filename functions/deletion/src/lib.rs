//! `POST /data-deletion`: Meta's request to delete a person's data. `GET /data-deletion/{code}`
//! shows the person its progress.

use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use threads_auth::{ConnectOutcome, Progress, ThreadsAuth, error_chain};
use threads_auth_web::pages::{self, Notice, Page, Reader};
use threads_auth_web::{HttpRequest, api, json, nowhere, previous_secret_used, removal_failed};

/// Answers one request.
pub async fn handle(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    match (&request.method, request.path.as_str()) {
        (&Method::POST, "/data-deletion") => delete(service, request, now).await,
        (&Method::GET, path) => match path.strip_prefix("/data-deletion/") {
            Some(code) => show(service, request, code).await,
            None => nowhere(service.config(), request),
        },
        _ => nowhere(service.config(), request),
    }
}

async fn delete(service: &ThreadsAuth, request: &HttpRequest, now: Timestamp) -> Response<String> {
    let request_id = &request.request_id;
    match service.delete_data(&request.body, now).await {
        Ok(deleted) => {
            if deleted.by_previous_secret {
                previous_secret_used(service.config(), request_id, now);
            }
            let outcome = match deleted.progress {
                Progress::Done(_) => "deleted",
                Progress::Kept(_) => "connected_since",
                Progress::Unfinished(..) => "unfinished",
            };
            // Without the user's id: the log would keep what was just deleted.
            tracing::info!(request_id, outcome);
            let answer = api::DeletionConfirmation {
                url: deleted.url.into(),
                confirmation_code: deleted.confirmation_code,
            };
            json(StatusCode::OK, &answer)
        }
        Err(error) => removal_failed(request, &error),
    }
}

async fn show(service: &ThreadsAuth, request: &HttpRequest, code: &str) -> Response<String> {
    let reader = Reader::of(service.config(), request);
    let page = match service.find_deletion(code).await {
        Ok(Some(Progress::Done(at))) => Page { time: Some(at), ..Page::new(Notice::Deleted) },
        Ok(Some(Progress::Kept(_))) => Page::new(Notice::DeletionKept),
        Ok(Some(Progress::Unfinished(..))) => Page::new(Notice::DeletionUnfinished),
        Ok(None) => Page::new(Notice::DeletionUnknown),
        Err(error) => {
            tracing::error!(
                request_id = request.request_id,
                outcome = "unavailable",
                error = error_chain(&error)
            );
            return pages::respond(&Page::new(ConnectOutcome::Unavailable), &reader);
        }
    };
    let notice = page.notice.as_str();
    tracing::info!(request_id = request.request_id, outcome = "deletion_shown", notice);
    pages::respond(&page, &reader)
}
