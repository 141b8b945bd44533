//! `--listen` and `--to`: what the command line can say in place of a file.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use proxy_config::{bind_name, listen_name, server_name};
use serde_json::Value;

/// What `--admin` is without being written: as in a file.
const ADMIN: &str = "127.0.0.1:9600";

/// Listeners, each with its servers, and what there is once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs {
    pub(crate) pairs: Vec<Pair>,
    /// As `ctl switch` has it; absent: what a file has by default.
    scheduler: Option<String>,
    admin: Option<String>,
}

/// A listener and its upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Both are called so.
    pub(crate) name: String,
    pub(crate) listen: Vec<String>,
    pub(crate) to: Vec<String>,
}

impl Pairs {
    /// The text of a file that means the same.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = self.runtime_toml();
        let _ = write!(text, "\n[admin]\nlisten = {}\n", quoted(self.admin()));
        for pair in &self.pairs {
            let (name, upstream) = (&pair.name, &pair.name);
            let _ = write!(
                text,
                "\n[listeners.{name}]\nbind = {}\nupstream = {}\n\n[upstreams.{upstream}]\nservers = {}\n",
                list(&pair.listen),
                quoted(upstream),
                list(&pair.to)
            );
        }
        text
    }

    /// `[runtime]` with the scheduler's keys.
    fn runtime_toml(&self) -> String {
        format!("[runtime]\n{}", self.scheduler_toml())
    }

    /// The lines of `[runtime]` that name the scheduler; none where the default is meant.
    pub(crate) fn scheduler_toml(&self) -> String {
        match self.scheduler.as_deref() {
            None => String::new(),
            Some(mode @ ("work-stealing" | "per-core")) => {
                format!("scheduler = \"tokio\"\ntokio.mode = {}\n", quoted(mode))
            }
            Some(scheduler) => format!("scheduler = {}\n", quoted(scheduler)),
        }
    }

    /// Where the admin server is to be.
    pub(crate) fn admin(&self) -> &str {
        self.admin.as_deref().unwrap_or(ADMIN)
    }

    /// With this pair, where none is written.
    pub(crate) fn or(mut self, pair: Pair) -> Self {
        if self.pairs.is_empty() {
            self.pairs.push(pair);
        }
        self
    }
}

/// Strings as an array of TOML.
pub(crate) fn list(values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", values.join(", "))
}

/// A string of JSON is one of TOML. What looks like a variable is none.
pub(crate) fn quoted(value: &str) -> String {
    Value::from(value.replace("${", "$${")).to_string()
}

/// Puts addresses together as they were written: one or more `--listen` belong to the `--to` beside them, in either order.
///
/// # Errors
/// What has nothing to belong to.
fn paired(words: &[Word<'_>]) -> Result<Vec<Pair>, String> {
    let mut pairs: Vec<Pair> = Vec::new();
    let runs: Vec<_> = words
        .chunk_by(|one, next| one.is_same_option(next))
        .collect();
    for two in runs.chunks(2) {
        let mut pair = Pair::default();
        for word in two.iter().copied().flatten() {
            match word {
                Word::Listen(address) => pair.listen.push((*address).to_owned()),
                Word::To(address) => pair.to.push((*address).to_owned()),
            }
        }
        match (pair.listen.last(), pair.to.last()) {
            (Some(_), Some(_)) => pairs.push(pair),
            (Some(listen), None) => {
                return Err(format!("--listen {listen} has no --to beside it"));
            }
            (None, to) => {
                let to = to.map_or("", |to| to);
                return Err(format!("--to {to} has no --listen beside it"));
            }
        }
    }
    let is_one = pairs.len() == 1;
    for (place, pair) in pairs.iter_mut().enumerate() {
        pair.name = match is_one {
            true => "main".to_owned(),
            false => format!("main-{}", place + 1),
        };
    }
    Ok(pairs)
}

#[derive(Clone, Copy)]
enum Word<'a> {
    Listen(&'a str),
    To(&'a str),
}

impl Word<'_> {
    fn is_same_option(&self, other: &Self) -> bool {
        matches!(self, Self::Listen(_)) == matches!(other, Self::Listen(_))
    }
}

impl FromArgMatches for Pairs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words = Vec::new();
        for (id, word) in [("listen", Word::Listen as fn(_) -> _), ("to", Word::To)] {
            let places = matches.indices_of(id).into_iter().flatten();
            let values = matches.get_many::<String>(id).into_iter().flatten();
            words.extend(places.zip(values.map(|value| word(value))));
        }
        words.sort_by_key(|(place, _)| *place);
        let words: Vec<_> = words.into_iter().map(|(_, word)| word).collect();
        let pairs = paired(&words).map_err(|why| {
            clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, why + "\n")
        })?;
        let one = |id: &str| matches.get_one::<String>(id).cloned();
        Ok(Self {
            pairs,
            scheduler: one("scheduler"),
            admin: one("admin"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Pairs {
    fn augment_args(command: Command) -> Command {
        let listen = Arg::new("listen")
            .long("listen")
            .value_name("ADDRESS")
            .action(ArgAction::Append)
            .value_parser(bind_name)
            .requires("to")
            .help("Where to listen, as in `bind` of a listener: 0.0.0.0:6379, [::]:6379, *:6379 or unix:/PATH; several share the --to that follow");
        let to = Arg::new("to")
            .long("to")
            .value_name("ADDRESS")
            .action(ArgAction::Append)
            .value_parser(server_name)
            .requires("listen")
            .help("A server, as in `servers` of an upstream: 10.0.0.1:6379, redis:6379 or unix:/PATH; several take turns");
        let scheduler = Arg::new("scheduler")
            .long("scheduler")
            .value_parser(["auto", "glommio", "work-stealing", "per-core"])
            .help("Who runs the connections; without it, as a file without `scheduler`");
        let admin = Arg::new("admin")
            .long("admin")
            .value_name("ADDRESS")
            .value_parser(listen_name)
            .help(format!("Where the live page and the metrics are; {ADMIN} without it, and port 0 is any that is free"));
        command.args([listen, to, scheduler, admin])
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str) -> Result<Pairs, clap::Error> {
        let command = Pairs::augment_args(Command::new("test"));
        let words = line.split(' ').filter(|word| !word.is_empty());
        let matches = command.try_get_matches_from(["test"].into_iter().chain(words))?;
        Pairs::from_arg_matches(&matches)
    }

    /// Each pair as `listen,…>to,…`.
    fn shown(line: &str) -> String {
        let pairs = pairs(line).unwrap_or_else(|error| panic!("{error}"));
        let all = pairs.pairs.iter();
        let all = all.map(|pair| format!("{}>{}", pair.listen.join(","), pair.to.join(",")));
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_stands_side_by_side_belongs_together() {
        let (a, b) = ("--listen 1.1.1.1:1", "--listen 1.1.1.1:2");
        let (x, y) = ("--to 2.2.2.2:1", "--to h:2");
        assert_eq!(shown(""), "");
        assert_eq!(shown(&format!("{a} {x}")), "1.1.1.1:1>2.2.2.2:1");
        assert_eq!(shown(&format!("{x} {a}")), "1.1.1.1:1>2.2.2.2:1");
        assert_eq!(shown(&format!("{a} {x} {y}")), "1.1.1.1:1>2.2.2.2:1,h:2");
        assert_eq!(
            shown(&format!("{a} {b} {x}")),
            "1.1.1.1:1,1.1.1.1:2>2.2.2.2:1"
        );
        let two = "1.1.1.1:1>2.2.2.2:1 1.1.1.1:2>h:2";
        assert_eq!(shown(&format!("{a} {x} {b} {y}")), two);
        assert_eq!(shown(&format!("{x} {a} {y} {b}")), two);
        let told = pairs(&format!("{a} {x} {b}")).expect_err("one is alone");
        assert!(
            told.to_string().contains("--listen 1.1.1.1:2 has no --to"),
            "{told}"
        );
        let told = pairs(&format!("{a} {x} {a} {y} {x} {b} {y}"));
        assert!(told.is_ok(), "the last --listen has the last --to");
    }

    #[test]
    fn an_address_that_is_none_is_told_with_its_option() {
        for (line, words) in [
            (
                "--listen localhost:1 --to h:1",
                "a listener has an IP address",
            ),
            ("--listen 1.1.1.1:1 --to h", "add a port"),
            ("--listen 0.0.0.0:70000 --to h:1", "from 1 to 65535, or 0"),
            ("--listen 1.1.1.1:1 --to http://h:1", "leave out the scheme"),
            ("--listen 1.1.1.1:1", "--to"),
            ("--to h:1", "--listen"),
            ("--listen 1.1.1.1:1 --to h:1 --admin 9600", "--admin"),
            ("--listen 1.1.1.1:1 --to h:1 --scheduler fast", "per-core"),
        ] {
            let told = pairs(line).expect_err("it is wrong").to_string();
            assert!(told.contains(words), "{line}: {told}");
        }
    }

    #[test]
    fn they_are_a_valid_file_whatever_is_in_them() {
        for line in [
            "--listen 127.0.0.1:0 --to builtin:echo",
            "--listen unix:/tmp/a\"b${HOME}\\c --to unix:/tmp/${d}",
            "--listen [::1]:1-3 --to h:1 --to [::1]:9 --listen *:7 --to h:1 --scheduler per-core --admin *:0",
            "--listen 127.0.0.1:0 --to h:1 --scheduler glommio",
        ] {
            let pairs = pairs(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let text = pairs.to_toml();
            let loaded = proxy_config::parse(&text, "test");
            let config = loaded
                .unwrap_or_else(|error| panic!("{text}\n{error}"))
                .config;
            assert_eq!(config.listeners.len(), pairs.pairs.len());
        }
    }
}
