//! `server` lines of an `upstream` block.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Server, Upstream};
use super::address::address;
use super::directive::Directive;
use super::ejection::{FAIL_TIMEOUT, Failures, MAX_FAILS};
use super::units::time;

/// The largest weight of the configuration.
const WEIGHT_MAX: u64 = 256;

pub(super) fn server(
    directive: &Directive,
    upstream: &mut Upstream,
    failures: &mut Vec<Failures>,
    notes: &mut Notes,
) {
    let from = &directive.from;
    let target = directive.value();
    if let Some(service) = directive.named("service") {
        let service = match service.contains('.') {
            true => service.to_owned(),
            false => format!("_{}._tcp", service.trim_start_matches('_')),
        };
        upstream
            .table("discovery", from)
            .set("dns", format!("{service}.{target}"), from);
    }
    let address = match address(target, None) {
        _ if directive.named("service").is_some() => None,
        Ok(address) => Some(address),
        Err(why) => return notes.lose(from, why),
    };
    let mut server = Server::new(address.clone().unwrap_or_default(), from);
    let mut failing = Failures {
        count: MAX_FAILS,
        rest: FAIL_TIMEOUT,
        is_backup: false,
        is_down: false,
        from: from.clone(),
    };
    for parameter in directive.texts().skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let number = value.parse::<u64>().ok();
        match (name, number, time(value)) {
            ("weight", Some(weight), _) => {
                if !server.keys.iter().any(|(key, _)| *key == "weight") {
                    server.set("weight", weight);
                }
            }
            ("down", ..) => {
                server.set("weight", 0_u64);
                failing.is_down = true;
            }
            ("backup", ..) => {
                server.set("backup", true);
                failing.is_backup = true;
            }
            ("max_conns", Some(0), _) | ("resolve" | "service", ..) => {}
            ("max_conns", Some(most), _) => server.set("max_connections", most),
            ("max_fails", Some(count), _) => failing.count = count,
            ("fail_timeout", _, Some(rest)) => failing.rest = rest,
            ("slow_start", _, Some(time)) if !time.is_zero() => {
                upstream.keys.set("slow_start", time, &from.part(parameter));
            }
            ("slow_start", _, Some(_)) => {}
            _ => notes.lose(
                &from.part(parameter),
                "corelane has nothing like it for a server",
            ),
        }
    }
    failures.push(failing);
    if address.is_none() {
        return;
    }
    upstream.add(server, notes);
}

/// Scales the weights of an upstream, of which one is larger than there can be.
pub(super) fn scale(upstream: &mut Upstream, from: &Origin, notes: &mut Notes) {
    let weights = upstream
        .servers
        .iter()
        .map(|server| server.number("weight").unwrap_or(1));
    let weights: Vec<u64> = weights.collect();
    let largest = weights.iter().copied().max().unwrap_or_default();
    if largest <= WEIGHT_MAX {
        return;
    }
    let scaled = |weight: u64| {
        let share = u128::from(weight) * u128::from(WEIGHT_MAX) * 2 + u128::from(largest);
        let share = u64::try_from(share / (u128::from(largest) * 2)).unwrap_or(WEIGHT_MAX);
        share.max(weight.min(1))
    };
    let is_same = |weight: &u64| {
        u128::from(scaled(*weight)) * u128::from(largest)
            == u128::from(*weight) * u128::from(WEIGHT_MAX)
    };
    let is_exact = weights.iter().all(is_same);
    for (server, weight) in upstream.servers.iter_mut().zip(weights) {
        server.set("weight", scaled(weight));
    }
    if !is_exact {
        let why = format!(
            "weights are {WEIGHT_MAX} at most, so those of its servers are scaled, and their shares are nearly the same"
        );
        notes.remark(from, why);
    }
}
