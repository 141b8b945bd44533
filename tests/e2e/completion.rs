//! Completion in real shells: what is typed in part, and completed by TAB, is what runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::ctl::Controlled;
use crate::harness::child::Child;
use crate::harness::config::route;
use crate::harness::proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::terminal::Terminal;
use crate::harness::wait;

/// What a shell shows when it waits for a line.
const PROMPT: &str = "ready> ";

/// A shell, and how it comes to know of corelane.
struct Kind {
    name: &'static str,
    arguments: &'static [&'static str],
    /// The file that it reads at its start, and what is in it.
    begins: (&'static str, &'static str),
    /// Where it finds the completions by itself; none: it is told at its start.
    found: Option<&'static str>,
}

const BASH: Kind = Kind {
    name: "bash",
    arguments: &["--rcfile", ".bashrc", "-i"],
    begins: (
        ".bashrc",
        "PS1='ready> '\neval \"$(corelane completions bash)\"\n",
    ),
    found: None,
};

const ZSH: Kind = Kind {
    name: "zsh",
    arguments: &["-d", "-i"],
    begins: (
        ".zshrc",
        "PS1='ready> '\nautoload -U compinit && compinit -u -D\neval \"$(corelane completions zsh)\"\n",
    ),
    found: None,
};

const ZSH_OF_A_PACKAGE: Kind = Kind {
    begins: (
        ".zshrc",
        "PS1='ready> '\nfpath=($HOME/functions $fpath)\nautoload -U compinit && compinit -u -D\n",
    ),
    found: Some("functions/_corelane"),
    ..ZSH
};

const FISH: Kind = Kind {
    name: "fish",
    arguments: &["-i"],
    begins: (
        ".config/fish/config.fish",
        "set -g fish_greeting\nfunction fish_prompt\n    printf 'ready> '\nend\n",
    ),
    found: Some(".config/fish/completions/corelane.fish"),
};

impl Kind {
    /// Starts it on a terminal, with a home of its own. None where it isn't installed.
    fn start(&self, home: &Path) -> Option<(Terminal, Child)> {
        let is_there = Command::new(self.name).arg("--version").output();
        if is_there.is_err() {
            println!("skipped: there is no {}", self.name);
            return None;
        }
        let write = |path: &str, text: &[u8]| {
            let path = home.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("write");
        };
        let (file, text) = self.begins;
        write(file, text.as_bytes());
        // Fish makes completions of all manual pages at its first start, unless this is there.
        fs::create_dir_all(home.join(".local/share/fish/generated_completions")).expect("folders");
        if let Some(found) = self.found {
            let mut completions = proxy::command();
            let completions = completions.args(["completions", self.name]).output();
            write(found, &completions.expect("corelane runs").stdout);
        }
        let programs = home.join("programs");
        fs::create_dir(&programs).expect("a folder");
        let corelane = fs::canonicalize(proxy::command().get_program()).expect("it is there");
        symlink(corelane, programs.join("corelane")).expect("a link");
        let path = std::env::var("PATH").expect("a path");
        let mut command = Command::new("setsid");
        command.args(["--ctty", self.name]).args(self.arguments);
        command.current_dir(home).env_clear().envs([
            ("HOME", &*home.to_string_lossy()),
            ("PATH", &format!("{}:{path}", programs.display())),
            ("TERM", "xterm"),
            ("LANG", "C.UTF-8"),
        ]);
        let mut terminal = Terminal::open(200, 50);
        let shell = terminal
            .begin(|terminal| Child::spawn_on_terminal(&mut command, terminal, Signal::KILL));
        wait::until("the shell waits for a line", || terminal.has_drawn(PROMPT));
        Some((terminal, shell))
    }

    fn completes(&self) {
        let servers = ["builtin:echo", "127.0.0.1:1"];
        let routes = route("main", "127.0.0.1:0", &servers, "shares = 900", "");
        let controlled = Controlled::start(Scheduler::PerCore, "", &routes);
        let home = tempfile::tempdir().expect("a folder");
        let Some((mut terminal, _shell)) = self.start(home.path()) else {
            return;
        };
        let socket = controlled.socket().display();
        let state = |server| controlled.json(&["servers", "main", server])["state"].clone();
        // Commands, upstreams, servers with colons, options and their values.
        for server in servers {
            let part = &server[..3];
            terminal.press(&format!(
                "corelane ctl --socket {socket} set-s\tm\t{part}\t--sta\tdr\t\r"
            ));
            wait::until(&format!("{} has {server} drain", self.name), || {
                state(server) == "draining"
            });
        }
        // A key's value follows it without a space.
        terminal.press(&format!(
            "corelane ctl --socket {socket} set-listener m\tsha\t700\r"
        ));
        wait::until(&format!("{} has the shares changed", self.name), || {
            controlled.json(&["listeners", "main"])["shares"] == 700
        });
        // Where there are no names, a file is meant.
        let told = home.path().join("told.toml");
        fs::write(&told, "[nonsense]\n").expect("write");
        terminal.press("corelane check tol\t\r");
        wait::until(&format!("{} has a file checked", self.name), || {
            terminal.has_drawn("told.toml:1")
        });
    }
}

#[test]
fn bash_completes_what_a_proxy_has() {
    BASH.completes();
}

#[test]
fn zsh_completes_what_a_proxy_has() {
    ZSH.completes();
}

#[test]
fn zsh_finds_the_completions_of_a_package() {
    ZSH_OF_A_PACKAGE.completes();
}

#[test]
fn fish_completes_what_a_proxy_has() {
    FISH.completes();
}
