//! `/connections`: who is connected now.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use proxy_core::{Listener, ListenerView, LiveConnection};
use serde::Serialize;

/// Connections that are listed unless `limit` says otherwise.
const LIMIT_DEFAULT: usize = 1000;

/// The most that are listed; a higher `limit` is as much. It bounds the answer's memory to a few megabytes.
const LIMIT_MAX: usize = 10_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query<'q> {
    limit: usize,
    sort: Sort,
    listener: Option<&'q str>,
}

/// Which connections come first: the oldest, those that moved most bytes, those that are idle for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Age,
    Bytes,
    Idle,
}

/// A query that can't be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadQuery(String);

/// The answer.
#[derive(Serialize)]
struct Answer<'a> {
    total: usize,
    shown: usize,
    connections: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: u64,
    listener: &'a str,
    client: String,
    peer: String,
    sni: Option<&'a str>,
    alpn: Option<String>,
    route: Option<&'a str>,
    server: Option<&'a str>,
    core: usize,
    age_seconds: f64,
    idle_seconds: f64,
    bytes_in: u64,
    bytes_out: u64,
    state: &'static str,
}

impl<'q> Query<'q> {
    /// The part of a URI after the question mark.
    ///
    /// # Errors
    /// When a parameter or a value is unknown.
    pub(crate) fn parse(query: &'q str) -> Result<Self, BadQuery> {
        let mut parsed = Self {
            limit: LIMIT_DEFAULT,
            sort: Sort::Age,
            listener: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let refused = |wanted: &str| BadQuery(format!("{name} must be {wanted}\n"));
            match name {
                "limit" => {
                    let limit: usize = value
                        .parse()
                        .map_err(|_| refused(&format!("a number up to {LIMIT_MAX}")))?;
                    parsed.limit = limit.min(LIMIT_MAX);
                }
                "sort" => {
                    parsed.sort = match value {
                        "age" => Sort::Age,
                        "bytes" => Sort::Bytes,
                        "idle" => Sort::Idle,
                        _ => return Err(refused("age, bytes or idle")),
                    };
                }
                // A listener's name has no character that a URI must escape.
                "listener" => parsed.listener = Some(value),
                _ => {
                    return Err(BadQuery(
                        "the parameters are limit, sort and listener\n".to_owned(),
                    ));
                }
            }
        }
        Ok(parsed)
    }
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection that is listed for now: one that is to come after another is greater.
struct Listed<'a> {
    key: u128,
    listener: &'a Listener,
    connection: LiveConnection,
}

impl Listed<'_> {
    fn order(&self) -> (std::cmp::Reverse<u128>, u64) {
        (std::cmp::Reverse(self.key), self.connection.id)
    }
}

impl Ord for Listed<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Listed<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Listed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Listed<'_> {}

/// The live connections that `query` asks for, as JSON.
///
/// # Errors
/// When there is no such listener.
pub(crate) fn list(listeners: &[ListenerView], query: Query<'_>) -> Result<String, BadQuery> {
    list_at(listeners, query, now())
}

fn list_at(listeners: &[ListenerView], query: Query<'_>, now: Instant) -> Result<String, BadQuery> {
    let asked_for =
        |listener: &&Arc<Listener>| query.listener.is_none_or(|name| listener.name == name);
    let listeners = listeners.iter().map(|view| &view.listener);
    let asked: Vec<_> = listeners.filter(asked_for).collect();
    if let (Some(name), true) = (query.listener, asked.is_empty()) {
        return Err(BadQuery(format!("there is no listener {name}\n")));
    }
    let mut total = 0;
    // Never more than are to be shown, and one.
    let mut first = BinaryHeap::new();
    for listener in asked {
        listener.live.each(|connection| {
            total += 1;
            first.push(Listed {
                key: key(query.sort, &connection, now),
                listener,
                connection,
            });
            if first.len() > query.limit {
                first.pop();
            }
        });
    }
    let sorted = first.into_sorted_vec();
    let connections: Vec<_> = sorted.iter().map(|listed| row(listed, now)).collect();
    let answer = Answer {
        total,
        shown: connections.len(),
        connections,
    };
    // Nothing in it can't be JSON.
    Ok(serde_json::to_string(&answer).unwrap_or_default())
}

fn key(sort: Sort, connection: &LiveConnection, now: Instant) -> u128 {
    let nanoseconds = |since| now.saturating_duration_since(since).as_nanos();
    match sort {
        Sort::Age => nanoseconds(connection.accepted_at),
        Sort::Idle => nanoseconds(connection.last_byte_at),
        Sort::Bytes => u128::from(connection.bytes_in) + u128::from(connection.bytes_out),
    }
}

fn row<'a>(listed: &'a Listed<'_>, now: Instant) -> Row<'a> {
    let connection = &listed.connection;
    let seconds = |since| now.saturating_duration_since(since).as_micros() as f64 / 1e6;
    let server = connection.server.as_ref();
    let facts = connection.facts.as_ref();
    let alpn = facts
        .map(|facts| &facts.alpn)
        .filter(|alpn| !alpn.is_empty());
    let route = facts.and_then(|facts| facts.route.as_ref());
    Row {
        id: connection.id,
        listener: &listed.listener.name,
        client: connection.client.to_string(),
        peer: connection.peer.to_string(),
        sni: facts.and_then(|facts| facts.sni.as_deref()),
        alpn: alpn.map(|alpn| alpn.to_string()),
        route: route.map(|route| &route.name[..]),
        server: server.map(|server| server.label.as_str()),
        core: connection.core,
        age_seconds: seconds(connection.accepted_at),
        idle_seconds: seconds(connection.last_byte_at),
        bytes_in: connection.bytes_in,
        bytes_out: connection.bytes_out,
        state: match server {
            Some(_) => "relaying",
            None if connection.in_prologue => "prologue",
            None => "connecting",
        },
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the admin server's clock: ages are as of now"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn queries_are_read() {
        let default = Query {
            limit: 1000,
            sort: Sort::Age,
            listener: None,
        };
        assert_eq!(Query::parse(""), Ok(default));
        let wanted = Query {
            limit: 7,
            sort: Sort::Bytes,
            listener: Some("web"),
        };
        assert_eq!(Query::parse("limit=7&sort=bytes&listener=web"), Ok(wanted));
        let most = Query {
            limit: LIMIT_MAX,
            ..default
        };
        assert_eq!(Query::parse("limit=999999"), Ok(most));
        for bad in [
            "limit=",
            "limit=-1",
            "limit=x",
            "sort=name",
            "sort",
            "order=age",
        ] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_list_is_json() {
        let observed = fixture::proxy();
        let list = |query| {
            list(
                &observed.view().listeners,
                Query::parse(query).expect("in order"),
            )
        };
        let empty = r#"{"total":0,"shown":0,"connections":[]}"#;
        assert_eq!(list(""), Ok(empty.to_owned()));
        assert_eq!(list("listener=web"), Ok(empty.to_owned()));
        let refused = BadQuery("there is no listener wbe\n".to_owned());
        assert_eq!(list("listener=wbe"), Err(refused));
    }
}
