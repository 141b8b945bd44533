//! Which servers are down, and which upstreams serve nobody.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use proxy_core::{Hold, Server, UpstreamView};

use super::fault;
use super::found::{Found, Subject, unix_seconds};
use super::scene::Scene;
use super::tense::{Tense, Told};
use crate::sampling::recent::Episode;
use proxy_state::{Finding, Level};

/// Upstreams that are named at most, and servers.
const UPSTREAMS_TOLD_MAX: usize = 4;
const SERVERS_TOLD_MAX: usize = 3;

/// An upstream that something is wrong with.
struct Troubled<'a> {
    upstream: &'a UpstreamView,
    down: Vec<&'a Server>,
    /// Clients that no server could be found for while some are still said to be up.
    unserved: Option<Episode>,
}

impl Troubled<'_> {
    fn name(&self) -> &str {
        &self.upstream.upstream.name
    }

    fn has_none_left(&self) -> bool {
        self.down.len() == self.upstream.members().len()
    }

    fn serves_nobody(&self) -> bool {
        self.has_none_left() || self.unserved.is_some()
    }

    /// "aa 1 of 2"
    fn count(&self, tense: Tense) -> String {
        let (name, servers) = (self.name(), self.upstream.members().len());
        let down = self.down.len();
        if self.has_none_left() {
            format!("{name} {} none left ({down} of {servers})", tense.has())
        } else {
            format!("{name} {down} of {servers}")
        }
    }
}

/// All that is wrong with servers, as one finding: those that are down, by their health checks or, without any,
/// that the last connect did; and those that traffic fails to connect to before their checks notice.
pub(super) fn of(scene: &Scene<'_>) -> Option<Found> {
    let upstreams = scene.view.upstreams.iter();
    let configured = upstreams.filter(|view| view.pool.is_some());
    let mut troubled: Vec<_> = configured
        .filter_map(|upstream| inspect(scene, upstream))
        .collect();
    if troubled.is_empty() {
        return None;
    }
    let is_alarm = troubled.iter().any(Troubled::serves_nobody);
    let nobody_is_down = troubled.iter().all(|one| one.down.is_empty());
    let last = if nobody_is_down {
        let episodes = troubled.iter().filter_map(|one| one.unserved);
        episodes.map(|episode| episode.last).max()
    } else {
        None
    };
    // Stable: the order of the configuration among equals.
    troubled.sort_by_key(|one| (!one.serves_nobody(), !one.has_none_left()));
    let told = Told::of(|tense| Finding {
        level: if is_alarm {
            Level::Alarm
        } else {
            Level::Warning
        },
        what: what(&troubled, tense),
        why: why(scene, &troubled, tense),
        // Nothing is to be done about what is over.
        remedy: match tense {
            Tense::Now => remedy(&troubled),
            Tense::Past => String::new(),
        },
        since: since(scene, &troubled).map(unix_seconds),
        over: false,
    });
    Some(Found {
        subject: Subject::Servers,
        told,
        last: last.unwrap_or(scene.at),
    })
}

fn inspect<'a>(scene: &Scene<'_>, upstream: &'a UpstreamView) -> Option<Troubled<'a>> {
    let down: Vec<_> = upstream
        .members()
        .iter()
        .map(Arc::as_ref)
        .filter(|server| !server.is_up())
        .collect();
    let all_down = down.len() == upstream.members().len();
    let recent = scene.recent.unserved(upstream.upstream.id);
    let unserved = recent.filter(|_| !all_down);
    let troubled = Troubled {
        upstream,
        down,
        unserved,
    };
    (!troubled.down.is_empty() || unserved.is_some()).then_some(troubled)
}

fn what(troubled: &[Troubled<'_>], tense: Tense) -> String {
    let (is, are) = (tense.is(), tense.are());
    let down: Vec<_> = troubled.iter().filter(|one| !one.down.is_empty()).collect();
    let servers: usize = down.iter().map(|one| one.down.len()).sum();
    let mut parts = Vec::new();
    match (&down[..], servers) {
        ([], _) => {}
        ([one], 1) => {
            let (label, name) = (&one.down[0].label, one.name());
            parts.push(match one.upstream.members().len() {
                1 => format!("server {label} {is} down, the only one of upstream {name}"),
                of => format!("server {label} of upstream {name} {is} down (1 of {of})"),
            });
        }
        _ => {
            let counts = listed(
                down.iter().map(|one| one.count(tense)),
                UPSTREAMS_TOLD_MAX,
                "upstreams",
                "; ",
            );
            parts.push(format!("{servers} servers {are} down: {counts}"));
        }
    }
    let failing: Vec<_> = troubled
        .iter()
        .filter(|one| one.unserved.is_some())
        .map(|one| one.name().to_owned())
        .collect();
    if !failing.is_empty() {
        let names = listed(failing.into_iter(), UPSTREAMS_TOLD_MAX, "upstreams", ", ");
        let fails = tense.choose("fails", "failed");
        parts.push(format!("every connect of upstream {names} {fails}"));
    }
    parts.join("; ")
}

fn why(scene: &Scene<'_>, troubled: &[Troubled<'_>], tense: Tense) -> String {
    let down = troubled
        .iter()
        .flat_map(|one| one.down.iter().map(move |server| (one, *server)));
    let servers = down.map(|(one, server)| {
        let label = &server.label;
        let name = one.name();
        let fault = server.outage.fault();
        let reason = if server.holds().has(Hold::AgentDown) {
            fault::by_agent(server)
        } else {
            fault.map_or_else(|| "it fails".to_owned(), |one| fault::words(server, one))
        };
        let since = down_since(server).map_or_else(String::new, |since| {
            format!(" since {}", scene.clock(scene.origin.utc_of(since)))
        });
        format!("{label} of {name}: {reason}{since}")
    });
    let mut parts = Vec::new();
    let servers = listed(servers, SERVERS_TOLD_MAX, "", "; ");
    if !servers.is_empty() {
        parts.push(servers);
    }
    for one in troubled.iter().take(UPSTREAMS_TOLD_MAX) {
        if let Some(episode) = one.unserved {
            parts.push(unserved(scene, one, episode, tense));
        }
    }
    if tense == Tense::Now {
        parts.extend(consequences(troubled));
    }
    parts.join("; ")
}

fn unserved(scene: &Scene<'_>, one: &Troubled<'_>, episode: Episode, tense: Tense) -> String {
    let clients = match episode.count {
        1 => "1 client".to_owned(),
        count => format!("{count} clients"),
    };
    let mut servers = one.upstream.members().iter();
    let reason = servers.find_map(|server| Some(fault::words(server, server.outage.fault()?)));
    let reason = reason.map_or_else(String::new, |reason| format!(", {reason}"));
    let notice = match (one.upstream.is_checked(), tense) {
        (true, Tense::Now) => "; its health checks haven't noticed yet",
        (true, Tense::Past) | (false, _) => "",
    };
    format!(
        "{clients} of {} found no server since {}{reason}{notice}",
        one.name(),
        scene.clock(scene.utc(episode.since))
    )
}

/// What that means for clients.
fn consequences(troubled: &[Troubled<'_>]) -> Vec<String> {
    let names = |wanted: &dyn Fn(&Troubled<'_>) -> bool| {
        let wanted = troubled.iter().filter(|one| wanted(one));
        let names: Vec<_> = wanted.map(|one| one.name().to_owned()).collect();
        (!names.is_empty())
            .then(|| listed(names.into_iter(), UPSTREAMS_TOLD_MAX, "upstreams", ", "))
    };
    // Who is closed is not tried.
    let is_tried = |one: &Troubled<'_>| {
        let mut servers = one.upstream.members().iter();
        one.upstream.is_checked() && servers.any(|server| !server.holds().is_closed())
    };
    let none_left = names(&|one| one.has_none_left());
    let checked = names(&|one| one.has_none_left() && is_tried(one));
    let others = names(&|one| !one.serves_nobody());
    let mut told = Vec::new();
    if let Some(names) = none_left {
        let tried = match checked {
            Some(_) => ", though all servers are still tried",
            None => "",
        };
        told.push(format!("clients of {names} are closed{tried}"));
    }
    if let Some(names) = others {
        told.push(format!("the other servers of {names} get the connections"));
    }
    told
}

/// What helps against why the first of them fails.
fn remedy(troubled: &[Troubled<'_>]) -> String {
    let down = troubled.iter().flat_map(|one| one.down.iter().copied());
    let unserved = troubled
        .iter()
        .filter(|one| one.unserved.is_some())
        .flat_map(|one| one.upstream.members().iter().map(Arc::as_ref));
    let mut servers = down.chain(unserved);
    let remedy = servers.find_map(|server| {
        if server.holds().has(Hold::AgentDown) {
            let label = &server.label;
            return Some(format!(
                "see why the agent of {label} says so: only its `up` takes that back"
            ));
        }
        Some(fault::remedy(server, server.outage.fault()?))
    });
    remedy.unwrap_or_default()
}

/// When the first of them began to fail.
fn since(scene: &Scene<'_>, troubled: &[Troubled<'_>]) -> Option<SystemTime> {
    let down = troubled.iter().flat_map(|one| &one.down);
    let down = down.filter_map(|server| Some(scene.origin.utc_of(down_since(server)?)));
    let unserved = troubled.iter().filter_map(|one| one.unserved);
    let unserved = unserved.map(|episode| scene.utc(episode.since));
    down.chain(unserved).min()
}

/// Since when a server is down, by its agent or else by its checks: the moment of the event, not of the first check that failed.
fn down_since(server: &Server) -> Option<Instant> {
    let by_agent = server.since(Hold::AgentDown);
    by_agent.or_else(|| server.since(Hold::Down))
}

/// The first `max`, and how many more there are.
fn listed(items: impl Iterator<Item = String>, max: usize, name: &str, between: &str) -> String {
    let mut items = items;
    let mut told: Vec<_> = items.by_ref().take(max).collect();
    match items.count() {
        0 => {}
        more => told.push(format!("{more} more {name}").trim_end().to_owned()),
    }
    told.join(between)
}
