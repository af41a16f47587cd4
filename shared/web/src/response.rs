//! Conversion of a response to API Gateway's format.

use http::Response;
use http::header::SET_COOKIE;
use lambda_http::Body;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpResponse;

/// Returns the response in API Gateway's format: one value per header, and the cookies separately.
#[must_use]
pub fn answer(response: Response<String>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = i64::from(parts.status.as_u16());
    let cookies = parts.headers.get_all(SET_COOKIE).iter();
    answer.cookies = cookies.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    answer.headers = parts.headers;
    answer.headers.remove(SET_COOKIE);
    answer.body = Some(Body::Text(body));
    answer
}
