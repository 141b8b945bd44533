//! What a shell offers where somebody has typed a part of a command: `corelane ctl` knows the names that a proxy has now.

use clap::{Command, CommandFactory};
use proxy_admin::commands::LISTENER_KEYS;

use crate::cli::Cli;
use crate::ctl::Names;

/// For bash: what is completed is the line as it is, as bash takes a name with a colon for several words. Where there are no names, a
/// file is meant. Bash puts a name into the line as it is, so it is quoted: that of a unix socket may have any characters.
const BASH: &str = r#"_corelane() {
    local line="${COMP_LINE:0:COMP_POINT}" words current prefix
    read -r -a words <<<"$line"
    [[ "$line" == *' ' ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    mapfile -t COMPREPLY < <(corelane complete -- "${words[@]:1}" 2>/dev/null |
        while IFS= read -r name; do printf '%q\n' "$name"; done)
    if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        prefix="${current%"${current##*:}"}"
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _corelane corelane
"#;

/// For zsh, to be evaluated or to be found in its `fpath`: then zsh runs the file where it is first asked to complete.
const ZSH: &str = r#"#compdef corelane
_corelane() {
    local -a names
    names=("${(@f)$(corelane complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ -z "$names" ]]; then
        _files
        return
    fi
    compadd -S '' -- ${(M)names:#*=}
    compadd -- ${names:#*=}
}
if [[ "${funcstack[1]}" == _corelane ]]; then _corelane "$@"; else compdef _corelane corelane; fi
"#;

/// For fish.
const FISH: &str = r#"function __corelane_names
    set -l words (commandline -opc) (commandline -ct)
    corelane complete -- $words[2..] 2>/dev/null
end
complete -c corelane -f -n 'count (__corelane_names) >/dev/null' -a '(__corelane_names)'
complete -c corelane -F -n 'not count (__corelane_names) >/dev/null'
"#;

/// What a shell reads to complete words.
pub(crate) fn script(shell: &str) -> &'static str {
    match shell {
        "zsh" => ZSH,
        "fish" => FISH,
        _ => BASH,
    }
}

/// What the last of the words may become, which is typed in part.
pub(crate) fn candidates(
    words: &[String],
    names: impl Fn(Names<'_>) -> Vec<String>,
) -> Vec<String> {
    let Some((current, before)) = words.split_last() else {
        return Vec::new();
    };
    let mut command = Cli::command();
    let mut positional = Vec::new();
    let mut path = Vec::new();
    let mut value_of = None;
    for word in before {
        if value_of.take().is_some() {
            continue;
        }
        if let Some(name) = word.strip_prefix("--") {
            value_of = takes_value(&command, name).then_some(name);
        } else if let Some(inner) = command
            .find_subcommand(word)
            .filter(|_| positional.is_empty())
        {
            path.push(inner.get_name().to_owned());
            command = inner.clone();
        } else {
            positional.push(&word[..]);
        }
    }
    let all = if let Some(option) = value_of {
        values_of(&command, option)
    } else if current.starts_with("--") {
        let options = command.get_arguments().filter_map(|one| one.get_long());
        let options = options.map(|name| format!("--{name}"));
        let global = ["--socket", "--config", "--url", "--json"].map(ToOwned::to_owned);
        options
            .chain(
                global
                    .into_iter()
                    .filter(|_| path.first().is_some_and(|one| one == "ctl")),
            )
            .collect()
    } else if command.has_subcommands() {
        let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
        shown.map(|one| one.get_name().to_owned()).collect()
    } else {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let of_listener = || LISTENER_KEYS.iter().map(|key| format!("{key}=")).collect();
        match (&path[..], &positional[..]) {
            (
                [
                    "ctl",
                    "servers" | "set-server" | "remove-server" | "add-server",
                ],
                [],
            ) => names(Names::Upstreams),
            (["ctl", "servers" | "set-server" | "remove-server"], [upstream]) => {
                names(Names::Servers(upstream))
            }
            (["ctl", "listeners" | "set-listener"], []) => names(Names::Listeners),
            (["ctl", "set-listener"], [_, ..]) => of_listener(),
            (["ctl", "close" | "reset" | "move"], []) => names(Names::Connections),
            _ => command
                .get_positionals()
                .nth(positional.len())
                .map_or_else(Vec::new, possible),
        }
    };
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|name| name.starts_with(&current[..]))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn takes_value(command: &Command, option: &str) -> bool {
    let mut arguments = command.get_arguments();
    match arguments.find(|one| one.get_long() == Some(option)) {
        Some(argument) => argument.get_action().takes_values(),
        // Those of `ctl` itself.
        None => ["socket", "config", "url", "token-file", "ca", "log"].contains(&option),
    }
}

fn values_of(command: &Command, option: &str) -> Vec<String> {
    let mut arguments = command.get_arguments();
    let argument = arguments.find(|one| one.get_long() == Some(option));
    argument.map_or_else(Vec::new, possible)
}

fn possible(argument: &clap::Arg) -> Vec<String> {
    let values = argument.get_possible_values().into_iter();
    values.map(|value| value.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<String> {
        let words: Vec<_> = line.split(' ').map(ToOwned::to_owned).collect();
        candidates(&words, |names| {
            let names: &[&str] = match names {
                Names::Upstreams => &["db", "web"],
                Names::Servers("web") => &["10.0.0.1:80", "10.0.0.2:80"],
                Names::Servers(_) => &[],
                Names::Listeners => &["main"],
                Names::Connections => &["17"],
            };
            names.iter().map(|name| (*name).to_owned()).collect()
        })
    }

    #[test]
    fn names_are_those_that_there_are() {
        assert_eq!(of("ct"), ["ctl"]);
        assert_eq!(of("ctl set-s"), ["set-server"]);
        assert_eq!(of("ctl set-server "), ["db", "web"]);
        assert_eq!(of("ctl --json set-server w"), ["web"]);
        assert_eq!(of("ctl set-server web 10.0.0.2"), ["10.0.0.2:80"]);
        assert_eq!(of("ctl set-server web 10.0.0.2:80 --st"), ["--state"]);
        let states = ["drain", "maintenance", "ready"];
        assert_eq!(of("ctl set-server web 10.0.0.2:80 --state "), states);
        assert_eq!(of("ctl --socket /run/a.sock set-listener m"), ["main"]);
        assert_eq!(of("ctl set-listener main sha"), ["shares="]);
        assert_eq!(of("ctl close "), ["17"]);
        assert_eq!(of("ctl switch g"), ["glommio"]);
        assert_eq!(of("ctl events "), [""; 0]);
        assert!(!of("").contains(&"complete".to_owned()), "it is for shells");
    }

    #[test]
    fn bash_quotes_what_it_puts_into_the_line() {
        let script = format!(
            "{BASH}\ncorelane() {{ printf '%s\\n' 'unix:/a b;c' 'unix:/d' 'shares='; }}\n\
             COMP_LINE='corelane ctl servers main unix' COMP_POINT=30 COMP_WORDBREAKS=' :='\n\
             _corelane\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let bash = std::process::Command::new("bash")
            .args(["-c", &script])
            .output();
        let answer = bash.unwrap();
        let words = String::from_utf8(answer.stdout).unwrap();
        assert_eq!(words, "unix:/a\\ b\\;c\nunix:/d\nshares=\n");
    }
}
