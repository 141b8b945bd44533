//! Health checks of services.

use std::time::Duration;

use super::super::note::Notes;
use super::super::plan::Upstream;
use super::super::tree::View;
use super::super::value::Value;
use super::duration;

/// How often a server is asked, and how long it may take, where nothing is written.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Checks: connects, or what is said and expected.
pub(super) fn read(check: &View<'_>, upstream: &mut Upstream, notes: &mut Notes) {
    let default = |words: &str| check.from().part(&format!("{words} is Traefik's default"));
    let at_once = check.from().part("in Traefik one check decides");
    let all_down = check
        .from()
        .part("Traefik connects to no server that is down");
    upstream.keys.set("when_all_down", "refuse", &all_down);
    let table = upstream.table("health", &check.from());
    table.set("interval", INTERVAL, &default("interval 30s"));
    table.set("timeout", TIMEOUT, &default("timeout 5s"));
    table.set("rise", 1_u64, &at_once);
    table.set("fall", 1_u64, &at_once);
    for (name, key) in [
        ("interval", "interval"),
        ("timeout", "timeout"),
        ("unhealthyInterval", "fast_interval"),
    ] {
        if let Some(time) = check.view(name) {
            match duration(&time) {
                Some(value) => table.set(key, value, &time.from()),
                None => notes.lose(&time.from(), "this is no time"),
            }
        }
    }
    if let Some((port, from)) = check
        .view("port")
        .and_then(|port| Some((port.text()?.parse::<u64>().ok()?, port.from())))
    {
        table.set("port", port, &from);
    }
    let steps = [("send", "send"), ("expect", "expect")]
        .into_iter()
        .filter_map(|(name, key)| {
            let text = check.text_of(name).filter(|text| !text.is_empty())?;
            Some(Value::Table(vec![(key, text.into())]))
        });
    let steps: Vec<Value> = steps.collect();
    if !steps.is_empty() {
        table.set("type", "expect", &check.from());
        table.set(
            "expect",
            steps.into_iter().collect::<Value>(),
            &check.from(),
        );
    }
}
