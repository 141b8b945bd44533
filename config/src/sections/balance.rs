//! How an upstream's servers share its connections.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::problems::findings::Findings;
use crate::raw::choice::choices;
use crate::raw::node::Place;
use crate::raw::section::Section;
use crate::sections::names::{Names, UpstreamIndex, upstream_index};

/// Upstreams that can stand in for one, each for the one before.
pub const FALLBACKS_MAX: usize = 8;

/// Connections that may be allowed to wait for a place.
pub const QUEUE_MAX: u64 = 1_000_000;

/// How long they wait, unless it is written.
pub(crate) const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of an upstream that say which server a connection gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancing {
    /// `balance`: how a connection's server is chosen.
    pub balance: Balance,
    /// `hash_on`: what the same server is chosen for.
    pub hash_on: HashOn,
    /// `compare_by`: what tells the better one of two.
    pub compare_by: CompareBy,
    /// `max_connections`: connections to all servers together. Absent: no limit.
    pub max_connections: Option<NonZeroU64>,
    /// `queue`, `queue_timeout`: connections that wait while all servers are full. Absent: they are refused.
    pub queue: Option<Queue>,
    /// `slow_start`: how long a server that came has less than its weight. Absent: it has all of it at once.
    pub slow_start: Option<Duration>,
    /// `fallback`: the upstream that serves while this one can't. They never lead in a circle, and there are at most
    /// [`FALLBACKS_MAX`] in a row.
    pub fallback: Option<UpstreamIndex>,
    /// `when_all_down`: what becomes of connections while all servers are down.
    pub when_all_down: WhenAllDown,
}

/// Connections that wait for a place at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// `queue`: how many at a time, no more than [`QUEUE_MAX`].
    pub max: NonZeroU64,
    /// `queue_timeout`: how long.
    pub timeout: Duration,
}

choices! {
    /// How a connection's server is chosen; displayed as it is written.
    pub enum Balance {
        /// Each in turn, by weight.
        RoundRobin = "round-robin",
        /// The one with the fewest open connections for its weight.
        LeastConnections = "least-connections",
        /// Of two that are drawn by weight, the better one.
        RandomTwo = "random-two",
        /// By a table from hashes to servers.
        SourceHash = "source-hash",
        /// The first one that is not full.
        First = "first",
    }
}

choices! {
    /// What is hashed; displayed as it is written.
    pub enum HashOn {
        /// The client's address.
        Source = "source",
        /// The address of who has connected.
        Peer = "peer",
        /// The server name of TLS.
        Sni = "sni",
    }
}

choices! {
    /// What tells the better one of two that are drawn; displayed as it is written.
    pub enum CompareBy {
        /// Its open connections, for its weight.
        Connections = "connections",
        /// What connects to it take lately, times its connections for its weight.
        ConnectTime = "connect-time",
    }
}

choices! {
    /// What becomes of connections while all servers are down; displayed as it is written.
    pub enum WhenAllDown {
        /// Servers are tried all the same.
        Try = "try",
        /// They are refused.
        Refuse = "refuse",
    }
}

/// Where an upstream's `fallback` is written.
pub(crate) struct Fallback {
    upstream: usize,
    to: UpstreamIndex,
    place: Place,
}

/// Reads the keys of an upstream; where its fallback is written is added to `fallbacks`.
pub(crate) fn read(
    section: &mut Section<'_>,
    upstream: usize,
    names: &Names<'_>,
    fallbacks: &mut Vec<Fallback>,
    checks_know_roles: bool,
) -> Balancing {
    let balance = section.value("balance");
    let hash_on = section.optional("hash_on");
    let compare_by = section.optional("compare_by");
    for (key, of) in [
        ("hash_on", Balance::SourceHash),
        ("compare_by", Balance::RandomTwo),
    ] {
        if balance != of
            && let Some(node) = section.node(key)
        {
            let path = node.path();
            node.report(format!(
                "`{path}` is for balance = \"{of}\", and this is \"{balance}\"; write that, or remove this"
            ));
        }
    }
    let fallback = section.node("fallback").and_then(|node| {
        let to = node.read(|value| upstream_index(value, names))?;
        fallbacks.push(Fallback {
            upstream,
            to,
            place: node.place(),
        });
        Some(to)
    });
    Balancing {
        balance,
        hash_on: hash_on.unwrap_or(HashOn::Source),
        compare_by: compare_by.unwrap_or(CompareBy::Connections),
        max_connections: section.optional("max_connections"),
        queue: queue(section),
        slow_start: section.optional("slow_start"),
        fallback,
        when_all_down: section
            .optional("when_all_down")
            .unwrap_or(match checks_know_roles {
                true => WhenAllDown::Refuse,
                false => WhenAllDown::Try,
            }),
    }
}

fn queue(section: &mut Section<'_>) -> Option<Queue> {
    let max = section.optional("queue");
    let timeout = section.optional("queue_timeout");
    if max.is_none()
        && timeout.is_some()
        && let Some(node) = section.node("queue_timeout")
    {
        let path = node.path();
        node.report(format!(
            "`{path}` says how long connections wait, and none may; write `queue`, too, as in queue = 1000, or remove this"
        ));
    }
    max.map(|max| Queue {
        max,
        timeout: timeout.unwrap_or(QUEUE_TIMEOUT),
    })
}

/// Reports fallbacks that lead in a circle, or through too many upstreams.
pub(crate) fn report_fallbacks(fallbacks: &[Fallback], names: &Names<'_>, errors: &Findings) {
    let next = |upstream: usize| {
        let mut written = fallbacks.iter();
        Some(written.find(|one| one.upstream == upstream)?.to.get())
    };
    for fallback in fallbacks {
        let path = &fallback.place.path;
        let way: Vec<_> =
            std::iter::successors(Some(fallback.upstream), |&upstream| next(upstream))
                .take(FALLBACKS_MAX + 2)
                .collect();
        let is_back = |&upstream: &usize| upstream == fallback.upstream;
        let circle = way.iter().skip(1).position(is_back).map(|place| place + 1);
        // To others, who report it.
        let comes_back = (1..way.len()).any(|place| way[..place].contains(&way[place]));
        let message = if let Some(length) = circle {
            // It is reported once, where it is written first.
            if way[..length]
                .iter()
                .any(|&upstream| upstream < fallback.upstream)
            {
                continue;
            }
            let names: Vec<_> = way[..=length].iter().map(|&one| names.name(one)).collect();
            format!(
                "`{path}` leads in a circle: {}; remove one of these fallbacks",
                names.join(" to ")
            )
        } else if way.len() > FALLBACKS_MAX + 1 && !comes_back {
            format!("`{path}` begins a row of more than {FALLBACKS_MAX} fallbacks; leave some out")
        } else {
            continue;
        };
        errors.add(fallback.place.at, Some(path.clone()), message);
    }
}
