//! Whether the proxy runs what its configuration file says.

use super::found::unix_seconds;
use super::scene::Scene;
use proxy_state::{Finding, Level};

/// A configuration that was refused.
pub(super) fn of(scene: &Scene<'_>) -> Option<Finding> {
    let refusal = scene.observed.reloads.refusal()?;
    Some(Finding {
        level: Level::Warning,
        what: "the configuration was not reloaded: what ran before goes on".to_owned(),
        why: format!(
            "refused at {}: {}",
            scene.clock(refusal.at),
            one_line(&refusal.reason)
        ),
        remedy: "correct the file until `corelane check FILE` is content, and send SIGHUP again"
            .to_owned(),
        since: Some(unix_seconds(refusal.at)),
        over: false,
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
