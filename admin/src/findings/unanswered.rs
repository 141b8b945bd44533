//! Servers that take connections and bytes, and answer nothing: what a process that hangs looks like from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_core::{Id, ListenerView, LiveConnection, Server};

use super::fault;
use super::found::{finding, unix_seconds};
use super::scene::Scene;
use super::tense::{Tense, Told};
use proxy_state::{Finding, Level};

/// How long a connection waits for its server's first byte, since the client last sent something, before it counts.
const WAIT_MIN: Duration = Duration::from_secs(5);

/// Connections that must wait so long. One alone may have asked for something that takes its time.
const CONNECTIONS_MIN: u64 = 3;

/// How long one alone has to wait.
const WAIT_ALONE_MIN: Duration = Duration::from_secs(30);

/// Live connections that are looked at; of more, those are that each worker keeps in its first places.
const CONNECTIONS_LOOKED_AT_MAX: usize = 32_768;

/// The connections that wait, by the server.
#[derive(Default)]
struct Tally(BTreeMap<Id, Waiting>);

struct Waiting {
    server: Arc<Server>,
    connections: u64,
    /// When the first of them began to wait.
    since: Instant,
}

/// The connections whose client has sent something, and whose server has not said a word.
pub(super) fn of(scene: &Scene<'_>) -> Option<Told> {
    let now = scene.origin.instant + scene.at;
    let listeners = &scene.view.listeners;
    let mut tally = Tally::default();
    for ListenerView { listener, .. } in listeners {
        if listener.connections() == 0 {
            continue;
        }
        let max = CONNECTIONS_LOOKED_AT_MAX / listeners.len();
        listener
            .live
            .first(max, |connection| tally.on_sample(&connection, now));
    }
    tally.worst()?;
    let (all, waited) = (tally.connections(), now - tally.since()?);
    let is_hardly_one = all < CONNECTIONS_MIN && waited < WAIT_ALONE_MIN;
    if is_hardly_one {
        return None;
    }
    let told = |tense| describe(scene, &tally, waited, tense);
    Some(Told {
        now: told(Tense::Now)?,
        past: told(Tense::Past)?,
    })
}

fn describe(scene: &Scene<'_>, tally: &Tally, waited: Duration, tense: Tense) -> Option<Finding> {
    let worst = tally.worst()?;
    let all = tally.connections();
    let server = &worst.server;
    let (name, label) = (&server.upstream, &server.label);
    let wait = match (all, tense) {
        (_, Tense::Past) => "waited",
        (1, Tense::Now) => "waits",
        (_, Tense::Now) => "wait",
    };
    let doesnt = tense.choose("doesn't", "didn't");
    let wait = format!(
        "{} {wait} for a first byte for over {} s",
        count(all),
        WAIT_MIN.as_secs()
    );
    let what = if worst.connections == all {
        format!("{wait}: server {label} of upstream {name} {doesnt} answer")
    } else {
        let (servers, dont) = (tally.0.len(), tense.choose("don't", "didn't"));
        let most = count(worst.connections);
        format!(
            "{wait}: {servers} servers {dont} answer, most of all {label} of upstream {name} ({most})"
        )
    };
    let has_spoken = server.cells.sum(|cells| cells.bytes_out.get()) > 0;
    let never = if has_spoken {
        ""
    } else {
        "; it has never answered since the start: maybe its protocol has no answers"
    };
    let why = format!(
        "{}; the longest wait {} {} s{never}",
        tense.choose(
            "connects work and it takes what clients send, but it says nothing",
            "connects worked and it took what clients sent, but it said nothing"
        ),
        tense.is(),
        waited.as_secs()
    );
    let remedy = remedy(label);
    Some(Finding {
        since: Some(unix_seconds(scene.origin.utc_of(tally.since()?))),
        ..finding(Level::Warning, &what, &why, &remedy)
    })
}

/// What helps, by the kind of the server's address.
fn remedy(label: &str) -> String {
    let ss = if fault::is_unix(label) {
        "ss -xp"
    } else {
        "ss -tnp"
    };
    format!(
        "see that {label} is not stopped, stuck or overloaded: in `{ss}`, what it doesn't read is its Recv-Q"
    )
}

impl Tally {
    fn on_sample(&mut self, connection: &LiveConnection, now: Instant) {
        let Some(server) = &connection.server else {
            return;
        };
        let since = connection.last_byte_at;
        let waits = connection.bytes_in > 0
            && connection.bytes_out == 0
            && now.saturating_duration_since(since) > WAIT_MIN;
        if !waits {
            return;
        }
        let waiting = self.0.entry(server.id).or_insert_with(|| Waiting {
            server: server.clone(),
            connections: 0,
            since,
        });
        waiting.connections += 1;
        waiting.since = waiting.since.min(since);
    }

    fn worst(&self) -> Option<&Waiting> {
        self.0.values().max_by_key(|waiting| waiting.connections)
    }

    fn connections(&self) -> u64 {
        self.0.values().map(|waiting| waiting.connections).sum()
    }

    fn since(&self) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.since).min()
    }
}

fn count(connections: u64) -> String {
    match connections {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::{ClientAddress, Upstream};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn server() -> Arc<Server> {
        let upstream = Upstream::new("u".to_owned());
        Arc::new(Server::named(&upstream, "a:1".to_owned()))
    }

    fn connection(begin: Instant, bytes_in: u64, bytes_out: u64) -> LiveConnection {
        LiveConnection {
            id: 1,
            client: ClientAddress::Unix,
            peer: ClientAddress::Unix,
            facts: None,
            in_prologue: false,
            accepted_at: begin,
            last_byte_at: begin,
            server: Some(server()),
            core: 0,
            bytes_in,
            bytes_out,
        }
    }

    #[test]
    fn only_who_asked_and_got_no_word_counts() {
        let begin = origin();
        let later = begin + WAIT_MIN + Duration::from_millis(1);
        let counted = |connection: LiveConnection, now| {
            let mut tally = Tally::default();
            tally.on_sample(&connection, now);
            tally.connections()
        };
        assert_eq!(counted(connection(begin, 1, 0), later), 1);
        assert_eq!(counted(connection(begin, 1, 0), begin + WAIT_MIN), 0);
        assert_eq!(counted(connection(begin, 0, 0), later), 0);
        assert_eq!(counted(connection(begin, 1, 1), later), 0);
        // It still sends, or has no server yet.
        let sends = LiveConnection {
            last_byte_at: later,
            ..connection(begin, 1, 0)
        };
        assert_eq!(counted(sends, later), 0);
        let connecting = LiveConnection {
            server: None,
            ..connection(begin, 0, 0)
        };
        assert_eq!(counted(connecting, later), 0);
    }

    #[test]
    fn the_server_that_most_wait_for_is_the_worst() {
        let begin = origin();
        let later = begin + WAIT_MIN * 2;
        let mut tally = Tally::default();
        let servers = [server(), server(), server()];
        for place in [0, 1, 1, 2] {
            let since = begin + Duration::from_secs(place as u64);
            let waiting = LiveConnection {
                server: Some(servers[place].clone()),
                ..connection(since, 1, 0)
            };
            tally.on_sample(&waiting, later);
        }
        let worst = tally.worst().expect("there are some");
        assert_eq!((worst.server.id, worst.connections), (servers[1].id, 2));
        assert_eq!((tally.connections(), tally.since()), (4, Some(begin)));
    }

    #[test]
    fn what_helps_fits_the_kind_of_server() {
        assert!(remedy("10.0.0.1:80").contains("`ss -tnp`"));
        assert!(remedy("unix:/run/x.sock").contains("`ss -xp`"));
    }
}
