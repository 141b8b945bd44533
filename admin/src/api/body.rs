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
    read_within(BODY_TIMEOUT, request).await
}

async fn read_within<T: DeserializeOwned, B>(
    patience: Duration,
    request: Request<B>,
) -> Result<T, BadBody>
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
    let Ok(body) = timeout(patience, std::pin::pin!(body)).await else {
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
        .and_then(|object: Map<String, Value>| {
            serde_json::from_value(with_whole_numbers(Value::Object(object)))
        })
        .map_err(|error| refused(StatusCode::BAD_REQUEST, &format!("the body: {error}")))
}

/// The same with each number that has no fraction as an integer, which it is by JSON's schema: 40.0 is 40.
fn with_whole_numbers(value: Value) -> Value {
    /// Up to here a float has every integer.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            match float.fract() == 0.0 && float.abs() <= EXACT_MAX {
                true => Value::from(float as i64),
                false => Value::Number(number),
            }
        }
        Value::Array(values) => values.into_iter().map(with_whole_numbers).collect(),
        Value::Object(values) => {
            let values = values.into_iter();
            let values = values.map(|(key, value)| (key, with_whole_numbers(value)));
            Value::Object(values.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::{Bytes, Frame};

    use super::*;

    fn ask(kind: &str, body: &str) -> Result<Value, u16> {
        let body = Full::new(Bytes::from(body.to_owned()));
        ask_within(BODY_TIMEOUT, kind, body)
    }

    fn ask_within<B>(patience: Duration, kind: &str, body: B) -> Result<Value, u16>
    where
        B: Body<Error: std::error::Error + Send + Sync + 'static>,
    {
        let request = Request::builder().header(CONTENT_TYPE, kind).body(body);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let read = runtime.block_on(read_within(patience, request.expect("a request")));
        read.map_err(|bad| bad.status.as_u16())
    }

    /// A body that begins and never ends.
    struct Slow(bool);

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{")))))
        }
    }

    #[test]
    fn a_body_that_does_not_end_is_given_up() {
        let patience = Duration::from_millis(20);
        let refused = ask_within(patience, "application/json", Slow(false));
        assert_eq!(refused, Err(408));
    }

    #[test]
    fn only_an_object_of_json_within_bounds_is_read() {
        let json = "application/json";
        let whole = serde_json::json!({"a": 40, "b": [1, 0.5]});
        assert_eq!(ask(json, "{\"a\": 40.0, \"b\": [1.0, 0.5]}"), Ok(whole));
        assert!(ask("application/json; charset=utf-8", "{}").is_ok());
        for (kind, body, status) in [
            ("text/plain", "{}", 415),
            ("", "{}", 415),
            (json, "[]", 400),
            (json, "", 400),
            (json, "{", 400),
            (json, &" ".repeat(BODY_BYTES_MAX + 1), 413),
        ] {
            assert_eq!(ask(kind, body), Err(status), "{kind}");
        }
    }
}
