//! The API: what the proxy shows of itself, and what can be changed, as JSON under `/api/v1`.
//!
//! One router serves the unix socket and the TCP address. Who asks is a [`Caller`]; over TCP that one only reads.

mod body;
pub(crate) mod caller;
mod changes;
mod json;
pub(crate) mod query;
pub(crate) mod route;
pub(crate) mod rows;

use std::sync::Arc;

use hyper::body::Body;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::body::BadBody;
use self::caller::Caller;
pub(crate) use self::json::unauthorized;
use self::json::{error, json, refused};
use self::query::{BadRequest, Parameters};
use self::route::{PREFIX, Route};
use self::rows::connections;
use self::rows::listeners::Listeners;
use self::rows::process::{Configuration, Difference, Recent, Status};
use self::rows::schedulers::Schedulers;
use self::rows::servers::Servers;
use self::rows::upstreams::Upstreams;
use crate::commands::{Command, Reply, Wish};
use crate::http::answer::Answer;
use crate::observed::Observed;
use crate::observed::events::EVENTS_MAX;
use crate::sampling::origin::Origin;

/// What describes the API.
const OPENAPI: &str = include_str!("openapi.json");

/// Readers that may have the configuration's files read at a time: it takes a thread, and a place among the commands.
const READERS_OF_FILES_MAX: usize = 1;

/// The API of one proxy.
pub struct Api {
    observed: Arc<Observed>,
    commands: mpsc::Sender<Command>,
    readers_of_files: Semaphore,
}

/// Whether a path is one of the API's.
pub(crate) fn is_its(path: &str) -> bool {
    path.starts_with(PREFIX) || path == PREFIX.trim_end_matches('/')
}

impl Api {
    /// That of a proxy which takes commands.
    pub fn new(observed: Arc<Observed>, commands: mpsc::Sender<Command>) -> Self {
        Self {
            observed,
            commands,
            readers_of_files: Semaphore::new(READERS_OF_FILES_MAX),
        }
    }

    /// The answer to a request.
    pub(crate) async fn respond<B>(&self, request: Request<B>, caller: Caller) -> Response<Answer>
    where
        B: Body<Error: std::error::Error + Send + Sync + 'static>,
    {
        match self.answer(request, caller).await {
            Ok(answer) => answer,
            Err(BadRequest(why)) => error(StatusCode::BAD_REQUEST, &why),
        }
    }

    async fn answer<B>(
        &self,
        request: Request<B>,
        caller: Caller,
    ) -> Result<Response<Answer>, BadRequest>
    where
        B: Body<Error: std::error::Error + Send + Sync + 'static>,
    {
        let uri = request.uri().clone();
        let Some(route) = Route::of(uri.path())? else {
            let why = "there is no such path; GET /api/v1/openapi.json lists those that there are";
            return Ok(error(StatusCode::NOT_FOUND, why));
        };
        let methods = route.methods();
        if !methods.contains(request.method()) {
            let names: Vec<_> = methods.iter().map(Method::as_str).collect();
            let names = names.join(", ");
            let mut refusal = error(StatusCode::METHOD_NOT_ALLOWED, &names);
            if let Ok(names) = HeaderValue::from_str(&names) {
                refusal.headers_mut().insert(ALLOW, names);
            }
            return Ok(refusal);
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        if changes && !caller.may_change() {
            return Ok(refused());
        }
        let query = uri.query().unwrap_or_default();
        let parameters = Parameters::parse(query, route.parameters(request.method()))?;
        if changes {
            match changes::wish(&route, &parameters, request, caller).await? {
                Ok(wish) => Ok(self.order(wish, caller).await),
                Err(BadBody { status, why }) => Ok(error(status, &why)),
            }
        } else {
            self.show(&route, &parameters, query, caller).await
        }
    }

    async fn show(
        &self,
        route: &Route<'_>,
        parameters: &Parameters<'_>,
        query: &str,
        caller: Caller,
    ) -> Result<Response<Answer>, BadRequest> {
        let observed = &self.observed;
        let view = || observed.view();
        Ok(match route {
            Route::OpenApi => json::text(OPENAPI.to_owned()),
            Route::Status => json(&Status::of(observed, &view())),
            Route::Upstreams => json(&Upstreams::of(&view())),
            Route::Servers => {
                let (view, upstream) = (view(), parameters.get("upstream"));
                json(&Servers::of(&view, upstream, Origin::now()))
            }
            Route::ServersOf(upstream) => {
                let view = view();
                let servers = Servers::of(&view, Some(upstream), Origin::now());
                if servers.servers.is_empty() {
                    return Ok(absent(&format!("upstream {upstream:?}")));
                }
                json(&servers)
            }
            Route::Server(upstream, server) => {
                let view = view();
                match Servers::one(&view, upstream, server, Origin::now()) {
                    Some(row) => json(&row),
                    None => absent(&format!("server {server:?} of an upstream {upstream:?}")),
                }
            }
            Route::Listeners => json(&Listeners::of(&view(), observed)),
            Route::Listener(name) => {
                let view = view();
                match Listeners::one(&view, name, observed) {
                    Some(row) => json(&row),
                    None => absent(&format!("listener {name:?}")),
                }
            }
            Route::Connections => {
                let query = connections::Query::parse(query)?;
                json::text(connections::list(&view().listeners, &query)?)
            }
            Route::Schedulers => json(&Schedulers::of(observed, &view())),
            Route::Config => json(&Configuration::of(observed)),
            Route::Difference => self.difference(caller).await,
            Route::Events => {
                let after = parameters.number("after", u64::MAX >> 1)?;
                let limit = parameters.number("limit", EVENTS_MAX as u64)?;
                let limit = limit.map_or(EVENTS_MAX, |limit| limit as usize);
                json(&Recent {
                    events: observed.events.after(after.unwrap_or(0), limit),
                    last: observed.events.last(),
                })
            }
            Route::Connection(id) => match connections::one(&view().listeners, *id) {
                Some(body) => json::text(body),
                None => absent(&format!("connection {id}")),
            },
            Route::Log => json(&observed.log.shown()),
            Route::Reload | Route::Upgrade => error(StatusCode::METHOD_NOT_ALLOWED, "POST"),
        })
    }

    /// What the configuration in force and its files differ by.
    async fn difference(&self, caller: Caller) -> Response<Answer> {
        let reading = self.readers_of_files.try_acquire();
        if reading.is_err() && !caller.may_change() {
            let why = "somebody else has the files read already; try again later";
            return error(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        self.order(Wish::Difference, caller).await
    }

    /// Has the proxy do something, and waits until it is done.
    async fn order(&self, wish: Wish, caller: Caller) -> Response<Answer> {
        tracing::info!(command = ?wish, by = %caller, "a command");
        let (command, answer) = Command::new(wish, caller.to_string());
        match self.commands.try_send(command) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                let busy = "too many commands wait already; try again later";
                return error(StatusCode::SERVICE_UNAVAILABLE, busy);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return ending(),
        }
        replied(answer).await
    }
}

async fn replied(answer: oneshot::Receiver<Reply>) -> Response<Answer> {
    match answer.await {
        Ok(Reply::Done(words)) => json::message(&words),
        Ok(Reply::Lines(lines)) => json(&Difference {
            differs: !lines.is_empty(),
            lines,
        }),
        Ok(Reply::Absent(words)) => error(StatusCode::NOT_FOUND, &words),
        Ok(Reply::Refused(words)) => error(StatusCode::UNPROCESSABLE_ENTITY, &words),
        Ok(Reply::Later(words)) => error(StatusCode::CONFLICT, &words),
        Ok(Reply::Busy(words)) => error(StatusCode::SERVICE_UNAVAILABLE, &words),
        Err(_) => ending(),
    }
}

fn absent(what: &str) -> Response<Answer> {
    error(StatusCode::NOT_FOUND, &format!("there is no {what}"))
}

fn ending() -> Response<Answer> {
    let words = "the proxy is ending; nothing was changed";
    error(StatusCode::SERVICE_UNAVAILABLE, words)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_description_has_the_paths_that_there_are_with_their_methods_and_parameters() {
        let description: Value = serde_json::from_str(OPENAPI).expect("JSON");
        let paths = description["paths"].as_object().expect("an object");
        for (path, operations) in paths {
            let named = path.replace("{id}", "7").replace(['{', '}'], "");
            let full = format!("/api/v1{named}");
            let route = Route::of(&full).expect(path).expect(path);
            let described = operations.as_object().expect("an object");
            let methods = route
                .methods()
                .iter()
                .filter(|method| **method != Method::HEAD);
            let methods: Vec<_> = methods
                .map(|method| method.as_str().to_lowercase())
                .collect();
            let mut names: Vec<_> = described.keys().cloned().collect();
            let mut wanted = methods.clone();
            names.sort();
            wanted.sort();
            assert_eq!(names, wanted, "{path}");
            for (method, operation) in described {
                let all = operation["parameters"].as_array();
                let all = all.map_or(&[][..], Vec::as_slice).iter();
                let of_query = all.filter(|parameter| parameter["in"] == "query");
                let parameters = of_query.filter_map(|parameter| parameter["name"].as_str());
                let mut parameters: Vec<_> = parameters.collect();
                parameters.sort_unstable();
                let method = method.to_uppercase().parse().expect("a method");
                let mut known = route.parameters(&method).to_vec();
                known.sort_unstable();
                assert_eq!(parameters, known, "{method} {path}");
            }
        }
    }
}
