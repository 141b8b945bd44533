//! What each path answers.

use std::sync::Arc;

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::exposition::{CONTENT_TYPE_METRICS, Exposition};
use crate::observed::Observed;

const CONTENT_TYPE_TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "\
corelane

/metrics  counters and gauges for Prometheus
/healthz  200 while the process runs
/readyz   200 while connections are accepted, 503 while they drain
";

/// The paths, and what they show.
pub(super) struct Routes {
    observed: Arc<Observed>,
    exposition: Exposition,
}

impl Routes {
    /// Paths that show `observed`.
    pub(super) fn new(observed: Arc<Observed>, exposition: Exposition) -> Self {
        Self {
            observed,
            exposition,
        }
    }

    /// The answer to a request. Its body, if any, is ignored.
    pub(super) fn respond<B>(&self, request: &Request<B>) -> Response<String> {
        let page: fn(&Self) -> Response<String> = match request.uri().path() {
            "/" => |_| text(StatusCode::OK, INDEX),
            "/metrics" => Self::metrics,
            "/healthz" => |_| text(StatusCode::OK, "ok\n"),
            "/readyz" => Self::ready,
            _ => return text(StatusCode::NOT_FOUND, "not found; / lists what there is\n"),
        };
        match *request.method() {
            Method::GET | Method::HEAD => page(self),
            _ => {
                let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
                refusal
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                refusal
            }
        }
    }

    fn ready(&self) -> Response<String> {
        if self.observed.is_draining() {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else {
            text(StatusCode::OK, "ready\n")
        }
    }

    fn metrics(&self) -> Response<String> {
        match self.exposition.encode() {
            Ok(body) => response(StatusCode::OK, CONTENT_TYPE_METRICS, body),
            Err(error) => {
                tracing::error!(%error, "metrics can't be encoded");
                let body = format!("metrics can't be encoded: {error}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, &body)
            }
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    response(status, CONTENT_TYPE_TEXT, body.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
