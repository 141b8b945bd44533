//! A section `frontend`, `backend` or `listen`, with what it has of its defaults.

use std::collections::HashMap;
use std::time::Duration;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Said;
use super::section::{Line, Section};
use super::time;

/// What a proxy of HAProxy's says.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) from: Origin,
    pub(super) mode: Option<Said<String>>,
    pub(super) binds: Vec<Line>,
    pub(super) servers: Vec<Line>,
    pub(super) default_backend: Option<Said<String>>,
    /// `timeout NAME`.
    pub(super) times: HashMap<String, Said<Duration>>,
}

impl Proxy {
    /// Whether it accepts connections.
    pub(super) fn is_frontend(&self) -> bool {
        self.kind != "backend"
    }

    /// Whether it has servers.
    pub(super) fn is_backend(&self) -> bool {
        self.kind != "frontend"
    }

    /// Reads a section, after the lines that count for it by default.
    ///
    /// # Errors
    /// What isn't as it must be, with its place.
    pub(super) fn read(
        section: &Section,
        inherited: &[Line],
        notes: &mut Notes,
    ) -> Result<Self, String> {
        if section.name().is_empty() {
            return Err(format!("{}: a name is missing", section.from.place));
        }
        let mut proxy = Self {
            kind: section.kind,
            name: section.name().to_owned(),
            from: section.from.clone(),
            mode: None,
            binds: Vec::new(),
            servers: Vec::new(),
            default_backend: None,
            times: HashMap::new(),
        };
        for line in inherited.iter().chain(&section.lines) {
            proxy.line(line, notes)?;
        }
        Ok(proxy)
    }

    fn line(&mut self, line: &Line, notes: &mut Notes) -> Result<(), String> {
        let from = &line.from;
        match line.words()[..] {
            ["mode", mode] => self.mode = Some(Said::new(mode.to_owned(), from)),
            ["bind", _, ..] => self.binds.push(line.clone()),
            ["server", _, _, ..] => self.servers.push(line.clone()),
            ["default_backend", name] => {
                self.default_backend = Some(Said::new(name.to_owned(), from))
            }
            ["timeout", name, text] => {
                let Some(time) = time::parse(text) else {
                    return Err(format!("{}: {text} is no time", from.place));
                };
                self.times.insert(name.to_owned(), Said::new(time, from));
            }
            _ => notes.lose(
                from,
                "corelane has nothing like it, or `convert` does not know it; leave it out",
            ),
        }
        Ok(())
    }
}
