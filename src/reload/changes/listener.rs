//! Changes of listeners.

use std::sync::Arc;

use proxy_admin::commands::{LISTENER_KEYS, ListenerChange, ListenerOrder};
use proxy_core::backend::Listening;
use proxy_core::{ListenerSettings, ListenerState};

use super::edit::Edit;
use super::server::too;
use super::{Made, NotMade, Running};

/// Gives a listener other shares and limits, or has it take clients or not.
pub(super) async fn change(
    name: &str,
    change: ListenerChange,
    running: &mut Running<'_>,
) -> Result<Made, NotMade> {
    let ListenerChange {
        state,
        settings,
        write,
    } = change;
    let current = find(name, running)?;
    let edit = |key: &String| match LISTENER_KEYS.contains(&&key[..]) {
        true => Ok(Edit::Key {
            path: vec!["listeners".to_owned(), name.to_owned()],
            key: key.clone(),
            value: Some(settings[key].clone()).filter(|value| !value.is_null()),
        }),
        false => Err(NotMade::Refused(format!(
            "{key:?} of a listener can't be changed so; known are {}. Others take a reload",
            LISTENER_KEYS.join(", ")
        ))),
    };
    let edits: Vec<_> = settings.keys().map(edit).collect::<Result<_, _>>()?;
    if edits.is_empty() && write {
        let why = "there is nothing to be written into the file: a state survives reloads and switches by itself";
        return Err(NotMade::Refused(why.to_owned()));
    }
    let mut done = Vec::new();
    if !edits.is_empty() {
        running.edit(edits, write).await?;
        let words = |(key, value): (&String, &serde_json::Value)| match value.is_null() {
            true => format!("{key} is as if it were not written"),
            false => format!("{key} is {value}"),
        };
        let words: Vec<_> = settings.iter().map(words).collect();
        done.push(format!("{}{}", words.join(", "), too(write)));
    }
    if let Some(order) = state {
        let listener = &current.listener;
        let before = listener.state();
        let wanted = match order {
            ListenerOrder::Open => ListenerState::Open,
            ListenerOrder::Paused => ListenerState::Paused,
            ListenerOrder::Drained => ListenerState::Drained,
        };
        if before != wanted {
            listener.set_state(wanted);
            if let Err(why) = set(name, before, wanted, running).await {
                listener.set_state(before);
                return Err(why);
            }
        }
        let words = match wanted {
            ListenerState::Open => "it takes clients",
            ListenerState::Paused => "it accepts nobody: clients wait",
            ListenerState::Drained => "it refuses clients, and those that it has may finish",
        };
        done.push(words.to_owned());
    }
    if done.is_empty() {
        done.push("it is as it was".to_owned());
    }
    Ok(format!("listener {name}: {}", done.join("; ")).into())
}

/// Has the sockets of a listener be as its new state wants them.
async fn set(
    name: &str,
    before: ListenerState,
    state: ListenerState,
    running: &mut Running<'_>,
) -> Result<(), NotMade> {
    // It comes to all that listens, and changes nothing else.
    running.edit(Vec::new(), false).await?;
    if before != ListenerState::Paused || state != ListenerState::Open {
        return Ok(());
    }
    // Its sockets have stayed, and nobody has accepted from them.
    let settings = find(name, running)?;
    let workers = &running.proxy.workers.running;
    let count = workers.profile().sockets.count(workers.threads().len());
    let listens = running.proxy.sockets.lend(name, count).and_then(|sockets| {
        let listening = Listening { settings, sockets };
        workers.listen(vec![listening])
    });
    listens.map_err(|error| {
        NotMade::Refused(format!(
            "the sockets of [listeners.{name}] can't be watched: {error}"
        ))
    })
}

fn find(name: &str, running: &Running<'_>) -> Result<Arc<ListenerSettings>, NotMade> {
    let table = running.proxy.observed.tables.current();
    let mut settings = table.listeners.iter();
    let settings = settings.find(|settings| settings.listener.name == name);
    settings
        .cloned()
        .ok_or_else(|| NotMade::Absent(format!("there is no listener {name:?}")))
}
