//! Another scheduler, or other cores.

use proxy_admin::commands::{CoresChange, SchedulerChange, SchedulerName};
use serde_json::{Value, json};

use super::edit::Edit;
use super::server::too;
use super::{Made, NotMade, Running};

/// Switches, as a reload with these settings does.
pub(super) async fn change(
    change: &SchedulerChange,
    running: &mut Running<'_>,
) -> Result<Made, NotMade> {
    let key = |path: &[&str], key: &str, value: Value| Edit::Key {
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        key: key.to_owned(),
        value: Some(value),
    };
    let mut edits = Vec::new();
    if let Some(scheduler) = change.scheduler {
        let (scheduler, mode) = match scheduler {
            SchedulerName::Glommio => ("glommio", None),
            SchedulerName::WorkStealing => ("tokio", Some("work-stealing")),
            SchedulerName::PerCore => ("tokio", Some("per-core")),
            SchedulerName::Auto => ("auto", None),
        };
        edits.push(key(&["runtime"], "scheduler", json!(scheduler)));
        edits.extend(mode.map(|mode| key(&["runtime", "tokio"], "mode", json!(mode))));
    }
    edits.extend(change.cores.as_ref().map(|cores| {
        let cores = match cores {
            CoresChange::Count(count) => json!(count),
            CoresChange::Which(which) => json!(which),
        };
        key(&["runtime"], "cores", cores)
    }));
    if edits.is_empty() {
        return Ok("the scheduler is as it was".to_owned().into());
    }
    let begun = running.edit(edits, change.write).await?;
    let runs = running.proxy.workers.running.profile().name;
    let words = match &begun {
        None => format!("{runs} goes on as it was{}", too(change.write)),
        Some(begun) => {
            let backend = begun.backend();
            let (to, cores) = (backend.profile().name, backend.threads().len());
            format!(
                "a switch from {runs} to {to} on {cores} cores begins{}",
                too(change.write)
            )
        }
    };
    Ok(Made { words, begun })
}
