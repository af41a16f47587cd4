//! The function that does nothing: the floor of every figure.

use lambda_http::lambda_runtime::{LambdaEvent, run};
use lambda_http::{Error, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(|_: LambdaEvent<Value>| async { Ok::<_, Error>(json!({})) })).await
}
