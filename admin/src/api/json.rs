//! Answers in JSON.

use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::http::answer::{Answer, CONTENT_TYPE_JSON, response};

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct Error<'a> {
    error: &'a str,
}

/// An answer with a value.
pub(super) fn json(value: &impl Serialize) -> Response<Answer> {
    match serde_json::to_string(value) {
        Ok(json) => text(json),
        Err(error) => {
            tracing::error!(%error, "an answer can't be encoded");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            self::error(status, "the answer can't be encoded")
        }
    }
}

/// An answer with a value that is JSON already.
pub(super) fn text(json: String) -> Response<Answer> {
    response(StatusCode::OK, CONTENT_TYPE_JSON, json)
}

/// What was done, in words.
pub(super) fn message(words: &str) -> Response<Answer> {
    let message = words.trim_end();
    json(&Message { message })
}

/// What is wrong, in words.
pub(super) fn error(status: StatusCode, words: &str) -> Response<Answer> {
    let error = words.trim_end();
    // Text can't fail to be JSON.
    let body = serde_json::to_string(&Error { error }).unwrap_or_default();
    response(status, CONTENT_TYPE_JSON, body)
}

/// The caller may not change anything.
pub(super) fn refused() -> Response<Answer> {
    unauthorized(
        "this address only reads without a token; what changes the proxy goes over the unix socket (`socket` of [admin]), \
         or shows the token of `token_file`",
    )
}

/// The caller has to show who they are.
pub(crate) fn unauthorized(why: &str) -> Response<Answer> {
    let mut refusal = error(StatusCode::UNAUTHORIZED, why);
    let headers = refusal.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refusal
}
