//! What each path answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{Answer, CONTENT_TYPE_JSON, response, text};
use super::events::Broadcast;
use super::hosts::{Hosts, Refusal};
use super::ready;
use crate::api::caller::Caller;
use crate::api::query::BadRequest;
use crate::api::rows::connections;
use crate::api::{self, Api};
use crate::exposition::{CONTENT_TYPE_METRICS, Exposition};
use crate::observed::Observed;
use crate::page;

const CONTENT_TYPE_EVENTS: &str = "text/event-stream";

/// The paths, and what they show.
pub(crate) struct Paths {
    /// A reload may change it.
    hosts: Mutex<Arc<Hosts>>,
    observed: Arc<Observed>,
    exposition: Exposition,
    broadcast: Broadcast,
    api: Arc<Api>,
}

impl Paths {
    /// Paths that show `observed`, to requests for `hosts`.
    pub(crate) fn new(
        hosts: Hosts,
        observed: Arc<Observed>,
        exposition: Exposition,
        broadcast: Broadcast,
        api: Arc<Api>,
    ) -> Self {
        Self {
            hosts: Mutex::new(Arc::new(hosts)),
            observed,
            exposition,
            broadcast,
            api,
        }
    }

    /// What the next process is to add to its own counts.
    pub(crate) fn totals(&self) -> Vec<u8> {
        self.exposition.totals()
    }

    /// Answers to requests for other hosts from now on.
    pub(crate) fn answer_to(&self, hosts: Hosts) {
        *self.lock_hosts() = Arc::new(hosts);
    }

    fn lock_hosts(&self) -> MutexGuard<'_, Arc<Hosts>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request of somebody at an address.
    pub(crate) async fn respond<B>(&self, request: Request<B>, from: SocketAddr) -> Response<Answer>
    where
        B: Body<Error: std::error::Error + Send + Sync + 'static>,
    {
        let hosts = self.lock_hosts().clone();
        match hosts.check(&request) {
            Ok(()) => {}
            Err(Refusal::Malformed(why)) => return text(StatusCode::BAD_REQUEST, why),
            Err(Refusal::Forbidden(why)) => return text(StatusCode::FORBIDDEN, &why),
        }
        if api::is_its(request.uri().path()) {
            return self.api.respond(request, Caller::Reader(from)).await;
        }
        let query = request.uri().query().unwrap_or_default();
        let page: fn(&Self, &str) -> Response<Answer> = match request.uri().path() {
            "/" => |_, _| page::response(),
            "/state" => |paths, _| paths.state(),
            "/events" => |paths, _| paths.events(),
            "/config" => |paths, _| text(StatusCode::OK, &paths.observed.configuration()),
            "/metrics" => |paths, _| paths.metrics(),
            "/connections" => Self::connections,
            "/healthz" => |paths, _| paths.health(),
            "/readyz" => Self::ready,
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

    /// The process works, even while one of its workers is replaced: who would end it for that would cut all the others'
    /// connections.
    fn health(&self) -> Response<Answer> {
        match self.observed.restarts.replacing() {
            None => text(StatusCode::OK, "ok\n"),
            Some(worker) => {
                let told = format!("ok, but worker {worker} died and is being replaced\n");
                text(StatusCode::OK, &told)
            }
        }
    }

    fn ready(&self, query: &str) -> Response<Answer> {
        let (status, body) = ready::answer(&self.observed, query);
        text(status, &body)
    }

    fn state(&self) -> Response<Answer> {
        match self.broadcast.state() {
            Ok(body) => response(StatusCode::OK, CONTENT_TYPE_JSON, body),
            Err(error) => {
                tracing::error!(%error, "the state can't be encoded");
                let body = format!("the state can't be encoded: {error}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, &body)
            }
        }
    }

    fn events(&self) -> Response<Answer> {
        match self.broadcast.subscribe() {
            Some(events) => {
                let events = Answer::Events(Box::new(events));
                response(StatusCode::OK, CONTENT_TYPE_EVENTS, events)
            }
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many listen already; close a page, or ask for /state\n",
            ),
        }
    }

    fn connections(&self, query: &str) -> Response<Answer> {
        let listed = connections::Query::parse(query)
            .and_then(|query| connections::list(&self.observed.view().listeners, &query));
        match listed {
            Ok(body) => response(StatusCode::OK, CONTENT_TYPE_JSON, body),
            Err(BadRequest(why)) => text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
        }
    }

    fn metrics(&self) -> Response<Answer> {
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
