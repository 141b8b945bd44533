//! `use_backend … if { nbsrv(NAME) lt 1 }`: an upstream that stands in for another one.

use super::super::plan::{Plan, Upstream};
use super::super::value::Value;
use super::backend::Backends;
use super::choice::Fallback;
use super::guard::Guards;

/// Sets the fallbacks of all listeners.
pub(super) fn set(
    fallbacks: &[Fallback],
    backends: &Backends<'_>,
    guards: &Guards,
    plan: &mut Plan,
) {
    for fallback in fallbacks {
        let Fallback {
            upstream,
            substitute,
            from,
            ..
        } = fallback;
        let leading = plan
            .listeners
            .iter()
            .filter(|listener| listener.leads_to(upstream));
        let mut sections: Vec<_> = leading.map(|listener| &listener.from).collect();
        sections.dedup();
        if sections.len() > 1 {
            let why = format!(
                "it stands in for {upstream} as a whole, also for the clients of other listeners"
            );
            plan.notes.lose(from, why);
        }
        if guards.refuse_at(substitute) {
            let why = format!(
                "{substitute} refuses clients by rules of its own, which a fallback does not ask"
            );
            plan.notes.lose(from, why);
            continue;
        }
        let Some(last) = last(upstream, backends, &mut plan.upstreams) else {
            continue;
        };
        match last.keys.get("fallback") {
            Some(Value::Text(other)) if other != substitute => {
                let why = format!("{upstream} has {other} for a fallback already");
                plan.notes.lose(from, why);
            }
            _ => last.keys.set("fallback", substitute.as_str(), from),
        }
    }
}

/// The upstream itself, or that of its own backups, which come first.
fn last<'u>(
    name: &str,
    backends: &Backends<'_>,
    upstreams: &'u mut [Upstream],
) -> Option<&'u mut Upstream> {
    let place = |name: &str| upstreams.iter().position(|upstream| upstream.name == name);
    let mut found = place(name)?;
    if let Some(Value::Text(next)) = upstreams[found].keys.get("fallback")
        && !backends.values().any(|backend| backend.name == *next)
        && let Some(backups) = place(next)
    {
        found = backups;
    }
    upstreams.get_mut(found)
}
