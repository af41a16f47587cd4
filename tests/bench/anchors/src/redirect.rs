//! The function that only redirects, as `lambda_http` does it.

use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Error, Request, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(|_: Request| async {
        let answer = Response::builder().status(StatusCode::FOUND).header(LOCATION, "https://example.com/");
        Ok::<_, Error>(answer.body(Body::Empty)?)
    }))
    .await
}
