//! What is changed while the proxy runs, by somebody's wish, without reading the configuration again.
//!
//! States, weights and connections change at once. What stands in the configuration changes as by a reload: a configuration is
//! made of the one in force, prepared and put in force as a whole. The next reload has what the files say, so with `write` the
//! files say it, too.

mod connection;
mod edit;
mod listener;
mod scheduler;
mod server;

use proxy_admin::EventKind;
use proxy_admin::commands::{Change, Reply, What};
use proxy_config::{Config, Files};

use self::edit::Edit;
use super::{Begun, Commands, Proxy, apply};
use crate::config_file::{self, Given, Rewriting};
use crate::logging;

/// What a change is made of.
pub(crate) struct Running<'a> {
    pub(crate) given: &'a Given,
    pub(crate) config: &'a mut Config,
    pub(crate) proxy: &'a mut Proxy,
    pub(crate) commands: &'a mut Commands,
    /// What a switch of the scheduler that runs is waited for with, if one does.
    pub(crate) switch: Option<String>,
}

/// What came of a change.
pub(super) struct Made {
    /// What was done, in words.
    words: String,
    /// The scheduler that is to take over.
    begun: Option<Begun>,
}

/// Why a change was not made: nothing has changed then.
pub(super) enum NotMade {
    /// There is no such thing.
    Absent(String),
    /// It can't be, or must not be.
    Refused(String),
    /// It would have to wait.
    Later(String),
}

impl From<String> for Made {
    fn from(words: String) -> Self {
        Self { words, begun: None }
    }
}

/// Makes a change, and notes it. Returns the answer, and the scheduler that is to take over.
pub(crate) async fn make(
    change: Change,
    by: &str,
    mut running: Running<'_>,
) -> (Reply, Option<Begun>) {
    let kind = kind(&change.what);
    match of(change, &mut running).await {
        Ok(Made { words, begun }) => {
            tracing::info!(by, "{words}");
            running.proxy.observed.events.note(kind, by, &words);
            (Reply::Done(words), begun)
        }
        Err(NotMade::Absent(why)) => (Reply::Absent(why), None),
        Err(NotMade::Refused(why)) => {
            tracing::warn!(by, "a change is refused: {why}");
            (Reply::Refused(why), None)
        }
        Err(NotMade::Later(why)) => (Reply::Later(why), None),
    }
}

fn kind(what: &What) -> EventKind {
    match what {
        What::Server { .. } | What::AddServer { .. } | What::RemoveServer { .. } => {
            EventKind::Server
        }
        What::Listener { .. } => EventKind::Listener,
        What::Connection { .. } => EventKind::Connection,
        What::Scheduler(_) => EventKind::Scheduler,
        What::Log(_) => EventKind::Log,
    }
}

async fn of(change: Change, running: &mut Running<'_>) -> Result<Made, NotMade> {
    let Change { what, write } = change;
    match what {
        What::Server {
            upstream,
            server,
            change,
        } => server::change(&upstream, &server, &change, running).await,
        What::AddServer { upstream, server } => {
            server::add(&upstream, server, write, running).await
        }
        What::RemoveServer { upstream, server } => {
            server::remove(upstream, server, write, running).await
        }
        What::Listener { listener, change } => listener::change(&listener, change, running).await,
        What::Connection { id, order } => connection::order(id, order, running.proxy),
        What::Scheduler(change) => scheduler::change(&change, running).await,
        What::Log(change) => {
            let words = logging::change(&change).map_err(NotMade::Refused)?;
            running.proxy.observed.log.set(logging::shown());
            Ok(words.into())
        }
    }
}

impl Running<'_> {
    /// Puts a configuration with these edits in force, and writes them into its files, if they are to stand there.
    async fn edit(&mut self, edits: Vec<Edit>, write: bool) -> Result<Option<Begun>, NotMade> {
        if let Some(switch) = &self.switch {
            return Err(NotMade::Later(format!("it can't be changed now: {switch}")));
        }
        let new = edited(self.config, &edits).map_err(NotMade::Refused)?;
        let rewriting = match write {
            true => Some(rewrite(self.given, edits).await?),
            false => None,
        };
        let applied = apply(new, self.config, self.proxy, self.commands).await;
        let (_, begun) = applied.map_err(NotMade::Refused)?;
        if let Some(rewriting) = rewriting {
            rewriting.commit().map_err(|why| {
                NotMade::Refused(format!("it is in force, but it is not in the file: {why}"))
            })?;
        }
        Ok(begun)
    }
}

/// The configuration in force with some edits.
fn edited(config: &Config, edits: &[Edit]) -> Result<Config, String> {
    /// What its problems are said to be in.
    const NAME: &str = "the configuration in force";
    let text = config.to_toml();
    let document = text.parse();
    let mut document: toml_edit::DocumentMut =
        document.map_err(|error| format!("{NAME} can't be edited: {error}"))?;
    for edit in edits {
        edit.apply(&mut document)?;
    }
    let text = document.to_string();
    let files = Files::new(NAME, text.as_bytes(), |_| {
        Err(std::env::VarError::NotPresent)
    });
    let loaded = config_file::on_this_machine(|machine| files.parse(machine));
    Ok(loaded.map_err(|problems| problems.to_string())?.config)
}

/// Gets the configuration's files ready with some edits, each in the one that has most of what it changes.
async fn rewrite(given: &Given, edits: Vec<Edit>) -> Result<Rewriting, NotMade> {
    let change = move |texts: &[String]| -> Result<Vec<(usize, String)>, String> {
        let mut documents = Vec::with_capacity(texts.len());
        for text in texts {
            let document: toml_edit::DocumentMut = text
                .parse()
                .map_err(|error| format!("it is no TOML: {error}"))?;
            documents.push((document, false, text));
        }
        for edit in &edits {
            let most = documents
                .iter_mut()
                .rev()
                .max_by_key(|(one, ..)| edit.is_in(one));
            let (document, is_changed, _) = most.ok_or("there is no file")?;
            edit.apply(document)?;
            *is_changed = true;
        }
        let changed = documents.into_iter().enumerate();
        let changed = changed.filter(|(_, (_, is_changed, _))| *is_changed);
        Ok(changed
            .map(|(place, (document, _, before))| (place, as_before(before, document.to_string())))
            .collect())
    };
    let prepared = config_file::rewrite_meanwhile(given, change).await;
    prepared.map_err(|why| {
        NotMade::Refused(format!(
            "it can't be written into the file, and nothing was changed: {why}"
        ))
    })
}

/// A text that was changed, with the ends of its lines and the mark at its beginning as they were: an editor of TOML knows none of them.
fn as_before(before: &str, after: String) -> String {
    const MARK: char = '\u{feff}';
    let count = |what: &str| before.matches(what).count();
    let mut after = after.trim_start_matches(MARK).to_owned();
    if count("\r\n") > 0 && count("\r\n") == count("\n") {
        after = after.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if before.starts_with(MARK) {
        after.insert(0, MARK);
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_lines_and_a_mark_stay_as_they_were() {
        for (before, after, wanted) in [
            ("a = 1\r\nb = 2\r\n", "a = 1\nb = 3\n", "a = 1\r\nb = 3\r\n"),
            ("a = 1\r\n", "a = 1\r\nb = 3\n", "a = 1\r\nb = 3\r\n"),
            ("a = 1\nb = 2\r\n", "a = 1\nb = 3\n", "a = 1\nb = 3\n"),
            ("a = 1\n", "a = 2\n", "a = 2\n"),
            ("\u{feff}a = 1\n", "a = 2\n", "\u{feff}a = 2\n"),
            ("\u{feff}a = 1\n", "\u{feff}a = 2\n", "\u{feff}a = 2\n"),
        ] {
            assert_eq!(as_before(before, after.to_owned()), wanted);
        }
    }
}
