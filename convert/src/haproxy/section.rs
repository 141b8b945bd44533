//! haproxy.cfg as sections with lines.

use std::rc::Rc;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::condition::{self, Branches};
use super::words::{Environment, split};

/// Words that begin a section.
const SECTIONS: [&str; 20] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "resolvers",
    "peers",
    "mailers",
    "userlist",
    "program",
    "cache",
    "ring",
    "log-forward",
    "log-profile",
    "http-errors",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
    "healthcheck",
];

/// A section.
#[derive(Debug)]
pub(super) struct Section {
    /// The word that begins it.
    pub(super) kind: &'static str,
    /// The words after that, such as its name.
    pub(super) arguments: Vec<String>,
    pub(super) from: Origin,
    pub(super) lines: Vec<Line>,
}

/// A line of a section, which has a word at least.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) from: Origin,
}

impl Line {
    /// The words as they are matched.
    pub(super) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

impl Section {
    pub(super) fn name(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

/// Reads the files one after the other, as HAProxy does: sections may go on in the next file only by a header of their own.
///
/// # Errors
/// What is wrong, with the place.
pub(super) fn read(
    texts: &[(&str, &str)],
    environment: &mut Environment<'_>,
    notes: &mut Notes,
) -> Result<Vec<Section>, String> {
    let mut sections: Vec<Section> = Vec::new();
    for (name, text) in texts {
        let file: Rc<str> = Rc::from(*name);
        let mut branches = Branches::default();
        for (index, line) in text.lines().enumerate() {
            let from = Origin::new(&file, index + 1, line);
            let wrong = |reason: &str| format!("{}: {reason}", from.place);
            let split = split(line, environment).map_err(wrong)?;
            let Some(first) = split.words.first().map(String::as_str) else {
                continue;
            };
            if first.starts_with('.') {
                condition::directive(&split.words, &from, &mut branches, environment, notes)
                    .map_err(wrong)?;
                continue;
            }
            if !branches.are_taken() {
                notes.remark(
                    &from,
                    "a condition before it (.if) is not met, here and now",
                );
                continue;
            }
            for (variable, value) in &split.variables {
                note_variable(variable, value.as_deref(), &from, notes);
            }
            if let Some(kind) = SECTIONS.iter().find(|kind| **kind == first) {
                sections.push(Section {
                    kind,
                    arguments: split.words[1..].to_vec(),
                    from,
                    lines: Vec::new(),
                });
                continue;
            }
            let Some(section) = sections.last_mut() else {
                return Err(wrong(
                    "this stands in no section; a section such as `listen NAME` must come first",
                ));
            };
            if section.kind == "global" {
                set_variable(&split.words, environment);
            }
            let words = split.words;
            section.lines.push(Line { words, from });
        }
        branches
            .end()
            .map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(sections)
}

fn note_variable(name: &str, value: Option<&str>, from: &Origin, notes: &mut Notes) {
    match value {
        Some(_) => notes.remark(
            from,
            format!("the value that ${name} has now is written; convert again when it changes, or write \"${{{name}}}\" where a string is"),
        ),
        None => notes.lose(
            from,
            format!("${name} is not set, and counts as nothing; set it as HAProxy's environment has it, and convert again"),
        ),
    }
}

/// Variables that the configuration sets itself.
fn set_variable(words: &[String], environment: &mut Environment<'_>) {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["setenv", name, value] => environment.set(name, Some(value)),
        ["presetenv", name, value] if environment.get(name).is_none() => {
            environment.set(name, Some(value));
        }
        ["unsetenv", ref names @ ..] => names.iter().for_each(|name| environment.set(name, None)),
        _ => {}
    }
}
