//! Whether the cores get their CPUs.

use super::found::percent;
use super::tense::{Tense, Told};
use proxy_state::limits::{STARVED_MIN, WAITS_MIN};
use proxy_state::{Core, Finding, Level, State};

/// Cores whose CPU somebody else uses.
pub(super) fn of(state: &State) -> Option<Told> {
    let cores = state.cores.iter().enumerate();
    let (worst, core) = cores.max_by(|one, other| one.1.waits.total_cmp(&other.1.waits))?;
    (core.waits >= WAITS_MIN).then(|| Told::of(|tense| describe(worst, core, tense)))
}

fn describe(worst: usize, core: &Core, tense: Tense) -> Finding {
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
            "core {worst}{cpu} waited {} of {} for its CPU",
            percent(core.waits),
            tense.choose("the last second", "a second")
        ),
        why: tense
            .choose(
                "something else runs there, or the machine's host gives it away",
                "something else ran there, or the machine's host gave it away",
            )
            .to_owned(),
        remedy: match core.cpu {
            Some(_) => "move other programs away, or choose other CPUs ([runtime] cores)",
            None => "move other programs away, or raise the container's limit of CPU",
        }
        .to_owned(),
        ..Finding::default()
    }
}
