//! The body of a request that changes something.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Body;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

/// Bytes of a body; a longer one is refused before it is read.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a body is refused.
#[derive(Debug)]
pub(super) struct BadBody {
    pub(super) status: StatusCode,
    pub(super) why: String,
}

/// What somebody sent, as JSON of a kind.
///
/// # Errors
/// When it is declared as something else, too long or too slow, or not of that kind.
pub(super) async fn read<T: DeserializeOwned, B>(request: Request<B>) -> Result<T, BadBody>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    let refused = |status, why: &str| BadBody {
        status,
        why: why.to_owned(),
    };
    let declared = request.headers().get(CONTENT_TYPE);
    let declared = declared
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default().trim();
    // A page of another site can't send this kind without asking first.
    if !kind.eq_ignore_ascii_case("application/json") {
        let why = "declare the body as JSON: content-type: application/json";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let Ok(body) = timeout(BODY_TIMEOUT, std::pin::pin!(body)).await else {
        return Err(refused(
            StatusCode::REQUEST_TIMEOUT,
            "the body takes too long",
        ));
    };
    let body = body.map_err(|error| match error.downcast_ref() {
        Some(http_body_util::LengthLimitError { .. }) => {
            let why = format!("the body is longer than {BODY_BYTES_MAX} bytes");
            refused(StatusCode::PAYLOAD_TOO_LARGE, &why)
        }
        None => refused(StatusCode::BAD_REQUEST, "the body can't be read"),
    })?;
    // An object, as serde takes lists for structs.
    serde_json::from_slice(&body.to_bytes())
        .and_then(|object: Map<String, Value>| serde_json::from_value(Value::Object(object)))
        .map_err(|error| refused(StatusCode::BAD_REQUEST, &format!("the body: {error}")))
}
