//! The steps of a check: what is sent, and what is waited for.

use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::value::{Item, Value};

/// One step, by its key.
pub(super) fn step(key: &'static str, text: &str, from: &Origin) -> Item {
    Item::new(Value::Table(vec![(key, text.into())]), from)
}

/// Has a check be these steps, if there are any.
pub(super) fn set(keys: &mut Keys, steps: Vec<Item>, from: &Origin) {
    if !steps.is_empty() {
        keys.set("type", "expect", from);
        keys.set("expect", Value::List(steps), from);
    }
}

/// What an `expect` waits for, behind its options.
pub(super) fn after_options<'s, 'w>(words: &'s [&'w str]) -> &'s [&'w str] {
    let mut words = words;
    while let [option, _, rest @ ..] = words
        && matches!(
            *option,
            "min-recv"
                | "comment"
                | "ok-status"
                | "error-status"
                | "tout-status"
                | "on-success"
                | "on-error"
                | "status-code"
        )
    {
        words = rest;
    }
    words
}
