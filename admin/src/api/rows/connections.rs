//! Who is connected now.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use proxy_core::{ClientAddress, Listener, ListenerView, LiveConnection};
use serde::Serialize;

use crate::api::query::{BadRequest, Parameters};

/// Connections that are listed unless `limit` says otherwise.
const LIMIT_DEFAULT: usize = 1000;

/// The most that are listed; a higher `limit` is as much. It bounds the answer's memory to a few megabytes.
const LIMIT_MAX: usize = 10_000;

/// The parameters of a query.
pub(crate) const PARAMETERS: &[&str] = &[
    "limit", "offset", "sort", "order", "listener", "client", "server", "core", "find",
];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    limit: usize,
    offset: usize,
    sort: Sort,
    /// Those that would come last come first.
    ascending: bool,
    listener: Option<String>,
    client: Option<Client>,
    server: Option<String>,
    core: Option<usize>,
    /// In small letters.
    find: Option<String>,
}

/// Which connections come first: the oldest, those that moved most bytes, those that are idle for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Age,
    Bytes,
    Idle,
}

/// Which clients are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Those with addresses in a network.
    Network(IpNet),
    /// The one at an address and a port.
    Address(SocketAddr),
    /// Those of unix sockets.
    Unix,
}

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

impl Query {
    /// The part of a URI after the question mark.
    ///
    /// # Errors
    /// When a parameter or a value is unknown.
    pub(crate) fn parse(query: &str) -> Result<Self, BadRequest> {
        let parameters = Parameters::parse(query, PARAMETERS)?;
        let get = |name| parameters.get(name).map(ToOwned::to_owned);
        let number = |name| parameters.number(name, u64::MAX >> 1);
        let limit = number("limit")?.map_or(LIMIT_DEFAULT, |limit| limit as usize);
        let limit = limit.min(LIMIT_MAX);
        let offset = parameters.number("offset", LIMIT_MAX as u64)?;
        Ok(Self {
            limit,
            offset: offset.unwrap_or(0) as usize,
            sort: match parameters.get("sort") {
                None | Some("age") => Sort::Age,
                Some("bytes") => Sort::Bytes,
                Some("idle") => Sort::Idle,
                Some(_) => return Err(BadRequest("sort must be age, bytes or idle".to_owned())),
            },
            ascending: match parameters.get("order") {
                None | Some("descending") => false,
                Some("ascending") => true,
                Some(_) => {
                    let error = "order must be ascending or descending";
                    return Err(BadRequest(error.to_owned()));
                }
            },
            listener: get("listener"),
            client: parameters.get("client").map(Client::parse).transpose()?,
            server: get("server"),
            core: number("core")?.map(|core| core as usize),
            find: parameters
                .get("find")
                .map(str::trim)
                .filter(|words| !words.is_empty())
                .map(str::to_lowercase),
        })
    }

    /// What the order goes by: the greatest comes first.
    fn key(&self, connection: &LiveConnection, now: Instant) -> u128 {
        let nanoseconds = |since| now.saturating_duration_since(since).as_nanos();
        let key = match self.sort {
            Sort::Age => nanoseconds(connection.accepted_at),
            Sort::Idle => nanoseconds(connection.last_byte_at),
            Sort::Bytes => u128::from(connection.bytes_in) + u128::from(connection.bytes_out),
        };
        if self.ascending { !key } else { key }
    }

    /// How many connections are kept while all are looked at.
    fn kept(&self) -> usize {
        self.limit + self.offset
    }

    fn takes(&self, listener: &Listener, connection: &LiveConnection) -> bool {
        let server = connection.server.as_ref();
        self.core.is_none_or(|core| connection.core == core)
            && self.client.is_none_or(|client| client.is(connection))
            && (self.server.as_deref())
                .is_none_or(|label| server.is_some_and(|server| server.label == label))
            && (self.find.as_deref()).is_none_or(|words| is_in(words, listener, connection))
    }
}

/// Whether words stand in what a row shows as text.
fn is_in(words: &str, listener: &Listener, connection: &LiveConnection) -> bool {
    use std::fmt::Write;
    let mut text = String::new();
    let facts = connection.facts.as_ref();
    // A text takes all that is written.
    let _ = write!(
        text,
        "{} {} {} core {} {}",
        connection.client,
        connection.peer,
        listener.name,
        connection.core,
        stage(connection)
    );
    if let Some(server) = &connection.server {
        let _ = write!(text, " {}", server.label);
    }
    if let Some(facts) = facts {
        let route = facts.route.as_ref().map_or("", |route| &route.name);
        let sni = facts.sni.as_deref().unwrap_or_default();
        let _ = write!(text, " {sni} {} {route}", facts.alpn);
    }
    text.to_lowercase().contains(words)
}

fn stage(connection: &LiveConnection) -> &'static str {
    match connection.server {
        Some(_) => "relaying",
        None if connection.in_prologue => "prologue",
        None => "connecting",
    }
}

impl Client {
    fn parse(text: &str) -> Result<Self, BadRequest> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let one = text.parse().map(|ip: IpAddr| Self::Network(ip.into()));
        let network = || text.parse().map(Self::Network).ok();
        let address = || text.parse().map(Self::Address).ok();
        one.ok().or_else(network).or_else(address).ok_or_else(|| {
            let words = "client must be an IP address, a network as 10.0.0.0/8, an address with a port, or unix";
            BadRequest(words.to_owned())
        })
    }

    /// Whether a connection is this one's: by the client that is announced, or by who has connected.
    fn is(self, connection: &LiveConnection) -> bool {
        [connection.client, connection.peer]
            .into_iter()
            .any(|one| match (self, one) {
                (Self::Unix, ClientAddress::Unix) => true,
                (Self::Network(network), ClientAddress::Tcp(address)) => {
                    network.contains(&address.ip().to_canonical())
                }
                (Self::Address(wanted), ClientAddress::Tcp(address)) => {
                    wanted.port() == address.port()
                        && wanted.ip().to_canonical() == address.ip().to_canonical()
                }
                _ => false,
            })
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
pub(crate) fn list(listeners: &[ListenerView], query: &Query) -> Result<String, BadRequest> {
    list_at(listeners, query, now())
}

/// The live connection with an id, as JSON.
pub(crate) fn one(listeners: &[ListenerView], id: u64) -> Option<String> {
    let (listener, connection) = find(listeners, id)?;
    let key = 0;
    let listed = Listed {
        key,
        listener,
        connection,
    };
    serde_json::to_string(&row(&listed, now())).ok()
}

/// The live connection with an id, and its listener.
fn find(listeners: &[ListenerView], id: u64) -> Option<(&Listener, LiveConnection)> {
    let mut found = None;
    for view in listeners {
        view.listener.live.each(|connection| {
            if connection.id == id {
                found = Some((&*view.listener, connection));
            }
        });
    }
    found
}

fn list_at(listeners: &[ListenerView], query: &Query, now: Instant) -> Result<String, BadRequest> {
    let wanted = query.listener.as_deref();
    let asked_for = |listener: &&Arc<Listener>| wanted.is_none_or(|name| listener.name == name);
    let listeners = listeners.iter().map(|view| &view.listener);
    let asked: Vec<_> = listeners.filter(asked_for).collect();
    if let (Some(name), true) = (wanted, asked.is_empty()) {
        return Err(BadRequest(format!("there is no listener {name}")));
    }
    let mut total = 0;
    // Never more than are to be shown, and one.
    let mut first = BinaryHeap::new();
    for listener in asked {
        listener.live.each(|connection| {
            if !query.takes(listener, &connection) {
                return;
            }
            total += 1;
            first.push(Listed {
                key: query.key(&connection, now),
                listener,
                connection,
            });
            if first.len() > query.kept() {
                first.pop();
            }
        });
    }
    let sorted = first.into_sorted_vec();
    let shown = sorted.iter().skip(query.offset);
    let connections: Vec<_> = shown.map(|listed| row(listed, now)).collect();
    let answer = Answer {
        total,
        shown: connections.len(),
        connections,
    };
    // Nothing in it can't be JSON.
    Ok(serde_json::to_string(&answer).unwrap_or_default())
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
        state: stage(connection),
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
            offset: 0,
            sort: Sort::Age,
            ascending: false,
            listener: None,
            client: None,
            server: None,
            core: None,
            find: None,
        };
        assert_eq!(Query::parse(""), Ok(default.clone()));
        let wanted = Query {
            limit: 7,
            sort: Sort::Bytes,
            listener: Some("web".to_owned()),
            ..default.clone()
        };
        assert_eq!(Query::parse("limit=7&sort=bytes&listener=web"), Ok(wanted));
        let youngest = Query {
            ascending: true,
            ..default.clone()
        };
        assert_eq!(Query::parse("order=ascending"), Ok(youngest));
        assert_eq!(Query::parse("order=descending"), Ok(default.clone()));
        let found = Query {
            client: Some(Client::Network("10.0.0.0/8".parse().expect("a network"))),
            server: Some("10.0.0.1:80".to_owned()),
            core: Some(3),
            offset: 20,
            find: Some("db 1".to_owned()),
            ..default.clone()
        };
        let query = "client=10.0.0.0/8&server=10.0.0.1:80&core=3&offset=20&find=DB%201";
        assert_eq!(Query::parse(query), Ok(found));
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
            "client=somebody",
            "core=x",
            "offset=10001",
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
                &Query::parse(query).expect("in order"),
            )
        };
        let empty = r#"{"total":0,"shown":0,"connections":[]}"#;
        assert_eq!(list(""), Ok(empty.to_owned()));
        assert_eq!(list("listener=web"), Ok(empty.to_owned()));
        let refused = BadRequest("there is no listener wbe".to_owned());
        assert_eq!(list("listener=wbe"), Err(refused));
    }
}
