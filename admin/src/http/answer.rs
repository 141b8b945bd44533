//! The body of an answer: all of it at once, or events as long as somebody listens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

use super::events::Events;

pub(crate) const CONTENT_TYPE_JSON: &str = "application/json";

const CONTENT_TYPE_TEXT: &str = "text/plain; charset=utf-8";

/// A body.
pub(crate) enum Answer {
    /// None once it was given.
    Whole(Option<Bytes>),
    Events(Box<Events>),
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::Whole((!text.is_empty()).then(|| text.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Whole(text) => Poll::Ready(text.take()),
            Self::Events(events) => events.poll_next(cx),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, body: &str) -> Response<Answer> {
    response(status, CONTENT_TYPE_TEXT, body.to_owned())
}

/// An answer.
pub(crate) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Answer>,
) -> Response<Answer> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // No page may take it for a script or a style of its own.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What is shown is of this moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
