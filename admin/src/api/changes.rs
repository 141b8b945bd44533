//! What a request wants to be changed.

use std::path::PathBuf;

use hyper::body::Body;
use hyper::{Method, Request, StatusCode};

use super::body::{BadBody, read};
use super::caller::Caller;
use super::query::{BadRequest, Parameters};
use super::route::Route;
use crate::commands::Wish;
use crate::commands::change::{
    Change, ConnectionChange, ConnectionOrder, ListenerChange, LogChange, NewServer,
    SchedulerChange, ServerChange, What,
};

/// What a request that changes something wants, or what is wrong with its body.
///
/// # Errors
/// When a parameter is not valid.
pub(super) async fn wish<B>(
    route: &Route<'_>,
    parameters: &Parameters<'_>,
    request: Request<B>,
    caller: Caller,
) -> Result<Result<Wish, BadBody>, BadRequest>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    if *route == Route::Reload {
        return Ok(Ok(
            match (parameters.flag("check")?, parameters.flag("nowait")?) {
                (true, _) => Wish::Check,
                (false, true) => Wish::ReloadAtOnce,
                (false, false) => Wish::Reload,
            },
        ));
    }
    if *route == Route::Upgrade {
        let binary = parameters.get("binary");
        if binary.is_some() && !caller.may_run_programs() {
            let why = "only root and the user that the proxy runs as may name an executable, on the unix socket";
            return Ok(Err(BadBody {
                status: StatusCode::FORBIDDEN,
                why: why.to_owned(),
            }));
        }
        return Ok(Ok(Wish::Upgrade(binary.map(PathBuf::from))));
    }
    let change = if *request.method() == Method::DELETE {
        removal(route, parameters)?
    } else {
        match of_body(route, request).await {
            Ok(change) => change,
            Err(bad) => return Ok(Err(bad)),
        }
    };
    Ok(change
        .map(|change| Wish::Change(Box::new(change)))
        .ok_or(BadBody {
            status: StatusCode::METHOD_NOT_ALLOWED,
            why: "nothing can be changed there".to_owned(),
        }))
}

fn removal(route: &Route<'_>, parameters: &Parameters<'_>) -> Result<Option<Change>, BadRequest> {
    Ok(match route {
        Route::Server(upstream, server) => Some(Change {
            what: What::RemoveServer {
                upstream: upstream.to_string(),
                server: server.to_string(),
            },
            write: parameters.flag("write")?,
        }),
        Route::Connection(id) => Some(Change {
            what: What::Connection {
                id: *id,
                order: match parameters.flag("reset")? {
                    true => ConnectionOrder::Reset,
                    false => ConnectionOrder::Close,
                },
            },
            write: false,
        }),
        _ => None,
    })
}

async fn of_body<B>(route: &Route<'_>, request: Request<B>) -> Result<Option<Change>, BadBody>
where
    B: Body<Error: std::error::Error + Send + Sync + 'static>,
{
    let (what, write) = match route {
        Route::ServersOf(upstream) => {
            let server: NewServer = read(request).await?;
            let (upstream, write) = (upstream.to_string(), server.write);
            (What::AddServer { upstream, server }, write)
        }
        Route::Server(upstream, server) => {
            let change: ServerChange = read(request).await?;
            let write = change.write;
            let what = What::Server {
                upstream: upstream.to_string(),
                server: server.to_string(),
                change,
            };
            (what, write)
        }
        Route::Listener(listener) => {
            let change: ListenerChange = read(request).await?;
            let (listener, write) = (listener.to_string(), change.write);
            (What::Listener { listener, change }, write)
        }
        Route::Connection(id) => {
            let ConnectionChange { core } = read(request).await?;
            let order = ConnectionOrder::Move(core);
            (What::Connection { id: *id, order }, false)
        }
        Route::Schedulers => {
            let change: SchedulerChange = read(request).await?;
            let write = change.write;
            (What::Scheduler(change), write)
        }
        Route::Log => {
            let change: LogChange = read(request).await?;
            (What::Log(change), false)
        }
        _ => return Ok(None),
    };
    Ok(Some(Change { what, write }))
}
