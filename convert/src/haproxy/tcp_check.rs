//! `option tcp-check` and its rules.

use super::super::note::Notes;
use super::super::plan::Keys;
use super::check_step::{self, after_options, step};
use super::section::Line;

/// Sets what is said to a server and expected of it.
pub(super) fn read(said: &[&Line], keys: &mut Keys, notes: &mut Notes) {
    let mut steps = Vec::new();
    for line in said {
        let from = &line.from;
        let words = line.words();
        match words[1..] {
            ["send", text, ..] => steps.push(step("send", text, from)),
            ["send-binary", hex, ..] => steps.push(step("send_hex", hex, from)),
            ["expect", ref arguments @ ..] => match expected(arguments) {
                Some((key, text)) => steps.push(step(key, text, from)),
                None => notes.lose(from, "a check waits for text, bytes or a regular expression that comes, and not for what must not come"),
            },
            _ => notes.lose(from, "a check sends what stands in the file, and waits for an answer"),
        }
    }
    if let Some(first) = said.first() {
        check_step::set(keys, steps, &first.from);
    }
}

fn expected<'w>(words: &[&'w str]) -> Option<(&'static str, &'w str)> {
    match after_options(words) {
        ["string", text, ..] => Some(("expect", text)),
        ["rstring", regex, ..] => Some(("expect_regex", regex)),
        ["binary", hex, ..] => Some(("expect_hex", hex)),
        _ => None,
    }
}
