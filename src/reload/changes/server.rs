//! Changes of servers.

use std::sync::Arc;

use proxy_admin::commands::{NewServer, ServerChange, ServerOrder};
use proxy_core::{Hold, Pool, Server};
use serde_json::{Value, json};

use super::super::{discovered, now};
use super::edit::Edit;
use super::{Made, NotMade, Running};

/// The highest weight of a server.
const WEIGHT_MAX: u16 = 256;

/// Gives a server another state, or another weight. Both stay with it whatever is reloaded, switched or discovered: a weight
/// that is written stands in the configuration instead.
pub(super) async fn change(
    upstream: &str,
    label: &str,
    change: &ServerChange,
    running: &mut Running<'_>,
) -> Result<Made, NotMade> {
    let server = find(upstream, label, running)?;
    if let Some(Some(weight)) = change.weight
        && weight > WEIGHT_MAX
    {
        let why = format!("a weight is a number from 0 to {WEIGHT_MAX}, and {weight} is more");
        return Err(NotMade::Refused(why));
    }
    let mut done = Vec::new();
    match change.weight {
        Some(Some(weight)) if change.write => {
            let (upstream, server_name) = (upstream.to_owned(), label.to_owned());
            let edit = Edit::Weight {
                upstream,
                server: server_name,
                weight,
            };
            let before = server.weight_by_hand();
            server.set_weight_by_hand(None);
            if let Err(why) = running.edit(vec![edit], true).await {
                server.set_weight_by_hand(before);
                return Err(why);
            }
            done.push(format!("has weight {weight}, in the file, too"));
        }
        _ if change.write => {
            let why = "only a weight can be written into the file; a state survives reloads and switches by itself";
            return Err(NotMade::Refused(why.to_owned()));
        }
        Some(weight) => {
            server.set_weight_by_hand(weight);
            discovered::apply(running.config, running.proxy);
            done.push(match weight {
                Some(weight) => format!("has weight {weight}"),
                None => "has the weight that is configured".to_owned(),
            });
        }
        None => {}
    }
    if let Some(order) = change.state {
        let now = now();
        let is_held = |hold| match hold {
            Hold::Draining => order == ServerOrder::Drain,
            _ => order == ServerOrder::Maintenance,
        };
        for hold in [Hold::Draining, Hold::Maintenance] {
            server.set_hold(hold, is_held(hold), now);
        }
        done.push(
            match order {
                ServerOrder::Ready => "is ready",
                ServerOrder::Drain => "gets no new connections",
                ServerOrder::Maintenance => "is out of service",
            }
            .to_owned(),
        );
    }
    if done.is_empty() {
        done.push("is as it was".to_owned());
    }
    Ok(format!("server {label} of {upstream} {}", done.join(" and ")).into())
}

/// Gives an upstream another server.
pub(super) async fn add(
    upstream: &str,
    server: NewServer,
    write: bool,
    running: &mut Running<'_>,
) -> Result<Made, NotMade> {
    find_pool(upstream, running)?;
    let address = server.address.clone();
    let mut keys: Vec<(&'static str, Value)> = vec![("address", json!(server.address))];
    keys.extend(server.weight.map(|weight| ("weight", json!(weight))));
    keys.extend(server.backup.map(|backup| ("backup", json!(backup))));
    keys.extend(
        server
            .max_connections
            .map(|max| ("max_connections", json!(max))),
    );
    let edit = Edit::AddServer {
        upstream: upstream.to_owned(),
        server: keys,
    };
    running.edit(vec![edit], write).await?;
    Ok(format!("server {address} of {upstream} is new{}", too(write)).into())
}

/// Takes a server from an upstream. Its connections go on, or end, as `on_removed` says.
pub(super) async fn remove(
    upstream: String,
    server: String,
    write: bool,
    running: &mut Running<'_>,
) -> Result<Made, NotMade> {
    find(&upstream, &server, running)?;
    let words = format!("server {server} of {upstream} is removed{}", too(write));
    let edit = Edit::RemoveServer { upstream, server };
    running.edit(vec![edit], write).await?;
    Ok(words.into())
}

pub(super) fn too(write: bool) -> &'static str {
    if write { ", in the file, too" } else { "" }
}

fn find_pool(upstream: &str, running: &Running<'_>) -> Result<Arc<Pool>, NotMade> {
    let table = running.proxy.observed.tables.current();
    let mut pools = table.pools.iter();
    let pool = pools.find(|pool| pool.upstream().name == upstream);
    pool.cloned()
        .ok_or_else(|| NotMade::Absent(format!("there is no upstream {upstream:?}")))
}

fn find(upstream: &str, label: &str, running: &Running<'_>) -> Result<Arc<Server>, NotMade> {
    let pool = find_pool(upstream, running)?;
    let server = pool.servers().find(|server| server.label == label).cloned();
    server.ok_or_else(|| {
        NotMade::Absent(format!(
            "there is no server {label:?} of an upstream {upstream:?}"
        ))
    })
}
