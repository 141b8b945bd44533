//! What each path answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{Answer, CONTENT_TYPE_JSON, response, text};
use super::events::Broadcast;
use super::hosts::{Hosts, Refusal};
use super::ready;
use super::security::{BadToken, Security, Tls};
use crate::api::query::BadRequest;
use crate::api::rows::connections;
use crate::api::{self, Api};
use crate::exposition::{CONTENT_TYPE_METRICS, Exposition};
use crate::observed::Observed;
use crate::page;
use crate::sampling::origin::now;

const CONTENT_TYPE_EVENTS: &str = "text/event-stream";

/// The paths, and what they show.
pub(crate) struct Paths {
    /// A reload may change it.
    doors: Mutex<(Arc<Hosts>, Security)>,
    observed: Arc<Observed>,
    exposition: Exposition,
    broadcast: Broadcast,
    api: Arc<Api>,
    /// When the log said last that a token was wrong.
    said_at: Mutex<Option<Instant>>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    pub(crate) address: SocketAddr,
    pub(crate) is_encrypted: bool,
}

/// How often it is logged that a token is wrong.
const SAID_EVERY: Duration = Duration::from_secs(10);

impl Paths {
    /// Paths that show `observed`, to requests for `hosts`.
    pub(crate) fn new(
        (hosts, security): (Hosts, Security),
        observed: Arc<Observed>,
        exposition: Exposition,
        broadcast: Broadcast,
        api: Arc<Api>,
    ) -> Self {
        Self {
            doors: Mutex::new((Arc::new(hosts), security)),
            observed,
            exposition,
            broadcast,
            api,
            said_at: Mutex::default(),
        }
    }

    /// What the next process is to add to its own counts.
    pub(crate) fn totals(&self) -> Vec<u8> {
        self.exposition.totals()
    }

    /// Answers to requests for other hosts, and of others, from now on.
    pub(crate) fn answer_to(&self, hosts: Hosts, security: Security) {
        *self.lock_doors() = (Arc::new(hosts), security);
    }

    /// Whether it is asked over TLS.
    pub(crate) fn tls(&self) -> Option<Tls> {
        self.lock_doors().1.tls.clone()
    }

    fn lock_doors(&self) -> MutexGuard<'_, (Arc<Hosts>, Security)> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request of somebody at an address.
    pub(crate) async fn respond<B>(&self, request: Request<B>, from: From) -> Response<Answer>
    where
        B: Body<Error: std::error::Error + Send + Sync + 'static>,
    {
        let (hosts, security) = self.lock_doors().clone();
        match hosts.check(&request) {
            Ok(()) => {}
            Err(Refusal::Malformed(why)) => return text(StatusCode::BAD_REQUEST, why),
            Err(Refusal::Forbidden(why)) => return text(StatusCode::FORBIDDEN, &why),
        }
        if api::is_its(request.uri().path()) {
            return match security.caller(&request, from.address, from.is_encrypted) {
                Ok(caller) => self.api.respond(request, caller).await,
                Err(BadToken::Wrong) => {
                    self.note_wrong(from.address);
                    api::unauthorized("this is not the token that is in `token_file` of [admin]")
                }
                Err(BadToken::Plain) => api::unauthorized(
                    "a token is not taken in plain text from another machine; set tls_certificate of [admin]",
                ),
            };
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

    /// Says that somebody has tried, though not each time.
    fn note_wrong(&self, from: SocketAddr) {
        let mut said_at = self.said_at.lock().unwrap_or_else(PoisonError::into_inner);
        if said_at.is_none_or(|at| now().saturating_duration_since(at) >= SAID_EVERY) {
            *said_at = Some(now());
            tracing::warn!(%from, "a wrong token was shown to the admin server");
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
