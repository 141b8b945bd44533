//! The reference of all keys, for people.

use std::fmt::Write;

use super::key::{Key, Kind};
use super::keys::ROOT;
use super::limits::{full_names, limits};
use super::shown::{default, heading, kind};

/// What holds for the file as a whole.
const ABOUT: &str = include_str!("reference.md");

/// The reference of the configuration, in Markdown: what stands in `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = ABOUT.to_owned();
    for table in ROOT.all() {
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n",
            heading(table),
            sentence(table.about)
        );
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        for key in table.keys {
            let (kind, default) = (kind(&key.kind), default(key));
            let meaning = sentence(meaning(key));
            let _ = writeln!(text, "| `{}` | {kind} | {default} | {meaning} |", key.name);
        }
    }
    text + &limits() + &full_names()
}

/// A table is described where its keys are.
fn meaning(key: &Key) -> String {
    match &key.kind {
        Kind::Table(table) | Kind::Named { table, .. } => {
            let anchor = table.path.replace('.', "").to_lowercase();
            format!("see [`[{}]`](#{anchor})", table.path)
        }
        _ => key.about.to_owned(),
    }
}

/// A text of the catalogue as one or more sentences: with a capital letter, and a full stop.
fn sentence(text: impl AsRef<str>) -> String {
    let text = text.as_ref();
    let mut characters = text.chars();
    let first: String = characters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", characters.as_str())
}
