//! Whether the cores get their CPUs.

use super::percent;
use proxy_state::{Finding, Level, State};

/// Part of the time that a core waits for its CPU from which on that is worth a word.
pub(super) const WAITS_MIN: f64 = 0.15;

/// Part from which on it is what's wrong.
const STARVED_MIN: f64 = 0.5;

/// Cores whose CPU somebody else uses.
pub(super) fn of(state: &State) -> Option<Finding> {
    let cores = state.cores.iter().enumerate();
    let (worst, core) = cores.max_by(|one, other| one.1.waits.total_cmp(&other.1.waits))?;
    (core.waits >= WAITS_MIN).then(|| {
        let cpu = core
            .cpu
            .map_or_else(String::new, |cpu| format!(" (CPU {cpu})"));
        Finding {
            level: if core.waits >= STARVED_MIN {
                Level::Alarm
            } else {
                Level::Warning
            },
            what: format!(
                "core {worst}{cpu} waited {} of the last second for its CPU",
                percent(core.waits)
            ),
            why: "something else runs there, or the machine's host gives it away".to_owned(),
            remedy: match core.cpu {
                Some(_) => "move other programs away, or choose other CPUs ([runtime] cores)",
                None => "move other programs away, or raise the container's limit of CPU",
            }
            .to_owned(),
            ..Finding::default()
        }
    })
}
