//! What each path answers.

use std::sync::Arc;

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::connections;
use super::exposition::{CONTENT_TYPE_METRICS, Exposition};
use crate::observed::Observed;

const CONTENT_TYPE_JSON: &str = "application/json";

const CONTENT_TYPE_TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "\
corelane

/metrics      counters and gauges for Prometheus
/connections  who is connected now, as JSON; ?limit=1000&sort=age|bytes|idle&listener=NAME
/healthz      200 while the process runs
/readyz       200 while connections are accepted, 503 while they drain
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
        let query = request.uri().query().unwrap_or_default();
        let page: fn(&Self, &str) -> Response<String> = match request.uri().path() {
            "/" => |_, _| text(StatusCode::OK, INDEX),
            "/metrics" => |routes, _| routes.metrics(),
            "/connections" => Self::connections,
            "/healthz" => |_, _| text(StatusCode::OK, "ok\n"),
            "/readyz" => |routes, _| routes.ready(),
            _ => return text(StatusCode::NOT_FOUND, "not found; / lists what there is\n"),
        };
        match *request.method() {
            Method::GET | Method::HEAD => page(self, query),
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

    fn connections(&self, query: &str) -> Response<String> {
        let listed = connections::Query::parse(query)
            .and_then(|query| connections::list(&self.observed.listeners, query));
        match listed {
            Ok(body) => response(StatusCode::OK, CONTENT_TYPE_JSON, body),
            Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
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
