//! The faults: broken connections, and each kind of error that AWS or Meta returns.

use http::StatusCode;
use serde_json::json;

use super::request::Request;

/// The fate of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is done, and the connection is reset.
    ResetBefore,
    /// The operation is done, and the connection is reset.
    ResetAfter,
    /// The operation is done, and its answer gets lost.
    AnswerLost,
    /// Nothing is done, and no answer comes.
    Held,
    /// The operation is done, and no answer comes.
    Late,
    /// The operation is done after the caller has given up.
    Delayed,
    /// The operation is done, and half of the answer's body comes.
    Truncated,
    /// Nothing is done, and the answer is not HTTP.
    Garbage,
    /// The operation is done twice. The answer is the second one's.
    Twice,
    /// Nothing is done, and the error repeats the request.
    Echo,
    /// Nothing is done. AWS answers with this status and code.
    Aws(u16, &'static str),
    /// Nothing is done. DynamoDB cancels the transaction for this reason.
    Canceled(&'static str),
    /// Nothing is done. Meta answers with this status, code and subcode, or 0 for none.
    Graph(u16, i64, i64),
    /// Nothing is done. Meta answers with this status and body.
    Body(u16, &'static str),
    /// Nothing is done. An HTML page comes with this status.
    Page(u16),
    /// Nothing is done. A status comes, and no body.
    Empty(u16),
}

/// A peer, whose operations have the same faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Aws,
    Graph,
    Receiver,
}

impl Peer {
    /// Returns the peer that has this operation.
    pub(crate) fn of(operation: &str) -> Self {
        match operation {
            "/oauth/access_token" | "/access_token" | "/refresh_access_token" | "/me" | "/debug_token" => {
                Self::Graph
            }
            _ if operation.starts_with('/') => Self::Receiver,
            _ => Self::Aws,
        }
    }
}

impl Fault {
    /// A refusal for which a retry is useless.
    pub(crate) const DENIED: Self = Self::Aws(400, "AccessDeniedException");

    /// Returns the faults of a peer.
    pub(crate) const fn of(peer: Peer) -> &'static [Self] {
        match peer {
            Peer::Aws => AWS,
            Peer::Graph => GRAPH,
            Peer::Receiver => RECEIVER,
        }
    }

    /// Returns true if the operation may have been done.
    pub(crate) fn is_done(self) -> bool {
        matches!(
            self,
            Self::ResetAfter | Self::AnswerLost | Self::Late | Self::Delayed | Self::Truncated | Self::Twice
        )
    }

    /// Returns true if the caller has to give up by itself.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Held | Self::Late | Self::Delayed)
    }

    /// Returns true if Meta reports that the token, the account or its access has ended. The
    /// service may believe it.
    pub(crate) fn is_metas_word(self) -> bool {
        matches!(self, Self::Graph(_, 10 | 102 | 190 | 200 | 368 | 803, _) | Self::Body(_, DELETED))
    }

    /// Returns true if Meta refuses the app itself, or has moved: nobody can log in.
    pub(crate) fn is_about_the_app(self) -> bool {
        matches!(
            self,
            Self::Graph(_, 100 | 101 | 200, _)
                | Self::Body(301 | 302, _)
                | Self::Body(_, DELETED | NO_ROLE | WRONG_SECRET)
        )
    }

    /// Returns the answer of a fault that has one.
    pub(super) fn response(self, request: &Request) -> String {
        let graph = "application/json; charset=UTF-8";
        let amazon = "application/x-amz-json-1.0";
        let (status, kind, body) = match self {
            Self::Aws(status, code) => {
                let body = json!({"__type": format!("com.amazonaws#{code}"), "message": "no"});
                (status, amazon, body.to_string())
            }
            Self::Canceled(reason) => {
                let reasons = [json!({"Code": reason, "Message": "no"}), json!({"Code": "None"})];
                let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
                let body = json!({"__type": code, "message": "no", "CancellationReasons": reasons});
                (400, amazon, body.to_string())
            }
            Self::Graph(status, code, subcode) => {
                let mut error =
                    json!({"message": "no", "type": "OAuthException", "code": code, "fbtrace_id": "AbC"});
                if subcode != 0 {
                    error["error_subcode"] = subcode.into();
                }
                (status, graph, json!({"error": error}).to_string())
            }
            Self::Body(status, body) => (status, graph, body.to_owned()),
            Self::Echo => {
                let text = request.echo();
                let error =
                    json!({"message": text, "type": "OAuthException", "code": 2, "error_user_msg": text});
                let body = json!({"__type": "InternalServerError", "message": text, "error": error});
                (500, graph, body.to_string())
            }
            Self::Page(status) => (status, "text/html", PAGE.to_owned()),
            Self::Empty(status) => (status, graph, String::new()),
            wire => unreachable!("{wire:?} has no answer"),
        };
        let status = StatusCode::from_u16(status).unwrap();
        let location = if status.is_redirection() { "location: https://graph.example/\r\n" } else { "" };
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{location}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }
}

const USED: &str = r#"{"error_type":"OAuthException","code":400,"error_message":"Matching code was not found or was already used"}"#;
const NO_ROLE: &str =
    r#"{"error_type":"OAuthException","code":400,"error_message":"Insufficient developer role"}"#;
const WRONG_SECRET: &str =
    r#"{"error":{"message":"Error validating client secret.","type":"OAuthException","code":1}}"#;
const DELETED: &str =
    r#"{"error":{"message":"Application has been deleted","type":"OAuthException","code":190}}"#;

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body><h1>Something went wrong</h1></body></html>\n";

const AWS: &[Fault] = &[
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::AnswerLost,
    Fault::Held,
    Fault::Late,
    Fault::Delayed,
    Fault::Truncated,
    Fault::Garbage,
    Fault::Twice,
    Fault::Echo,
    Fault::Page(200),
    Fault::Page(403),
    Fault::Page(502),
    Fault::Empty(200),
    Fault::Empty(500),
    Fault::Empty(503),
    Fault::Aws(400, "ThrottlingException"),
    Fault::Aws(400, "ProvisionedThroughputExceededException"),
    Fault::Aws(400, "RequestLimitExceeded"),
    Fault::Aws(400, "LimitExceededException"),
    Fault::Aws(400, "TransactionConflictException"),
    Fault::Aws(400, "TransactionInProgressException"),
    Fault::Canceled("TransactionConflict"),
    Fault::Canceled("ThrottlingError"),
    Fault::Canceled("ProvisionedThroughputExceeded"),
    Fault::Canceled("ItemCollectionSizeLimitExceeded"),
    Fault::Canceled("ValidationError"),
    Fault::Aws(500, "InternalServerError"),
    Fault::Aws(500, "InternalServiceError"),
    Fault::Aws(500, "InternalFailure"),
    Fault::Aws(503, "ServiceUnavailable"),
    Fault::DENIED,
    Fault::Aws(400, "ExpiredTokenException"),
    Fault::Aws(400, "InvalidSignatureException"),
    Fault::Aws(400, "UnrecognizedClientException"),
    Fault::Aws(400, "MissingAuthenticationTokenException"),
    Fault::Aws(403, "RequestTimeTooSkewed"),
    Fault::Aws(400, "RequestExpired"),
    Fault::Aws(400, "ValidationException"),
    Fault::Aws(400, "SerializationException"),
    Fault::Aws(400, "ItemCollectionSizeLimitExceededException"),
    Fault::Aws(400, "ResourceNotFoundException"),
    Fault::Aws(400, "InvalidRequestException"),
    Fault::Aws(400, "InvalidParameterException"),
    Fault::Aws(400, "DecryptionFailure"),
    Fault::Aws(400, "KMSAccessDeniedException"),
    Fault::Aws(400, "KMSDisabledException"),
    Fault::Aws(400, "KMSInvalidStateException"),
    Fault::Aws(400, "KMSNotFoundException"),
    Fault::Aws(400, "KMSThrottlingException"),
    Fault::Aws(400, "InaccessibleEncryptionCredentialsException"),
];

/// As people report them, and as Meta documents them.
const GRAPH: &[Fault] = &[
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::AnswerLost,
    Fault::Held,
    Fault::Late,
    Fault::Delayed,
    Fault::Truncated,
    Fault::Garbage,
    Fault::Twice,
    Fault::Echo,
    Fault::Page(200),
    Fault::Page(401),
    Fault::Page(502),
    Fault::Empty(200),
    Fault::Empty(403),
    Fault::Empty(500),
    Fault::Body(200, "[]"),
    Fault::Body(200, "{}"),
    Fault::Body(200, r#"{"error":null}"#),
    Fault::Body(200, r#"{"data":[]}"#),
    Fault::Body(400, r#"{"error":"something went wrong"}"#),
    Fault::Body(301, ""),
    Fault::Body(302, ""),
    Fault::Body(400, USED),
    Fault::Body(400, NO_ROLE),
    Fault::Body(400, WRONG_SECRET),
    Fault::Body(400, DELETED),
    Fault::Graph(500, 1, 0),
    Fault::Graph(400, 1, 99),
    Fault::Graph(400, 2, 0),
    Fault::Graph(503, 2, 0),
    Fault::Graph(400, 4, 0),
    Fault::Graph(429, 17, 0),
    Fault::Graph(400, 32, 0),
    Fault::Graph(400, 341, 0),
    Fault::Graph(400, 613, 0),
    Fault::Graph(400, 10, 0),
    Fault::Graph(400, 10, 4_279_013),
    Fault::Graph(400, 24, 2_207_006),
    Fault::Graph(400, 100, 33),
    Fault::Graph(400, 101, 0),
    Fault::Graph(400, 102, 0),
    Fault::Graph(400, 190, 0),
    Fault::Graph(400, 190, 458),
    Fault::Graph(400, 190, 459),
    Fault::Graph(400, 190, 460),
    Fault::Graph(400, 190, 463),
    Fault::Graph(400, 190, 464),
    Fault::Graph(400, 190, 467),
    Fault::Graph(400, 200, 0),
    Fault::Graph(400, 368, 0),
    Fault::Graph(400, 452, 0),
    Fault::Graph(400, 803, 0),
    Fault::Graph(400, -1, 0),
];

const RECEIVER: &[Fault] = &[
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::AnswerLost,
    Fault::Held,
    Fault::Late,
    Fault::Delayed,
    Fault::Garbage,
    Fault::Twice,
    Fault::Page(301),
    Fault::Page(404),
    Fault::Page(502),
    Fault::Empty(400),
    Fault::Empty(401),
    Fault::Empty(429),
    Fault::Empty(500),
    Fault::Empty(503),
];
