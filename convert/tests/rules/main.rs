//! What rules of haproxy.cfg become: who is refused there is refused here, or is named.

mod choices;
mod limits;
mod losses;
mod page;
mod refusals;

use std::path::{Path, PathBuf};

use proxy_convert::{Converted, Input, Nowhere, Refused, Surroundings, convert};

/// A machine with a map of names.
struct Machine;

impl Surroundings for Machine {
    fn read(&self, path: &Path, _: &Path) -> Result<Input, String> {
        let text = match path.to_str() {
            Some("/map") => "a.example.com b\nb.example.com c\n",
            Some("/gap") => "a.example.com b\nc.example.com missing\n",
            Some("/ends") => ".a.example.com b\nexample.com c\n",
            _ => return Err("it isn't there".to_owned()),
        };
        let (name, bytes) = ("map".to_owned(), text.into());
        Ok(Input { name, bytes })
    }

    fn matches(&self, pattern: &str, by: &Path) -> Result<Vec<PathBuf>, String> {
        Nowhere.matches(pattern, by)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// What becomes of a frontend `f` with these lines, whose backend is `b`, and of what follows it.
fn made_of(frontend: &str, more: &str) -> Result<Converted, Refused> {
    let text = format!(
        "defaults\n timeout client 1m\n timeout server 1m\nfrontend f\n bind 127.0.0.1:80\n{frontend}\n\
         backend b\n server s 192.0.2.1:80\nbackend c\n server s 192.0.2.2:80\n{more}\n"
    );
    let (name, bytes) = ("a.cfg".to_owned(), text.into());
    convert(&[Input { name, bytes }], None, &Machine)
}

/// The keys of the listener and of its routes, each table on a line of its own, without comments, from the first key of these on.
fn listener(converted: &Converted, name: &str) -> String {
    const SHOWN: [&str; 16] = [
        "upstream",
        "routes",
        "allow",
        "deny",
        "allow_peer",
        "deny_peer",
        "not_tls",
        "sni",
        "alpn",
        "source",
        "peer",
        "port",
        "reject",
        "trusted",
        "untrusted",
        "accept_proxy_protocol",
    ];
    let (mut tables, mut is_its, mut is_open) = (Vec::new(), false, false);
    for line in converted.file.lines() {
        let line = line.split("  # ").next().unwrap_or_default().trim();
        if line.starts_with('[') && !is_open {
            let path = line.trim_matches(['[', ']']);
            is_its =
                path == format!("listeners.{name}") || path == format!("listeners.{name}.routes");
            if is_its {
                tables.push(Vec::new());
            }
        } else if is_its && let Some(table) = tables.last_mut() {
            let key = line.split(" = ").next().unwrap_or_default();
            if is_open || SHOWN.contains(&key) {
                is_open = (is_open || line.ends_with('[')) && line != "]";
                table.push(line.replace(" = ", "=").replace('"', ""));
            }
        }
    }
    let tables: Vec<_> = tables.iter().map(|table| table.join(" ")).collect();
    tables.join("\n")
}

fn losses(converted: &Converted) -> String {
    let losses: Vec<_> = converted.losses.iter().map(ToString::to_string).collect();
    losses.join("\n")
}

/// What comes out of rules, of which nothing is lost.
fn whole(frontend: &str, more: &str) -> String {
    let converted = made_of(frontend, more).unwrap_or_else(|why| panic!("{frontend}: {why}"));
    assert_eq!(losses(&converted), "", "{frontend}\n{}", converted.file);
    listener(&converted, "f")
}

/// What comes out of rules, of which a line is named as lost for this reason.
fn partly(frontend: &str, more: &str, line: &str, why: &str) -> String {
    let converted = made_of(frontend, more).unwrap_or_else(|why| panic!("{frontend}: {why}"));
    let lost = converted.losses.iter();
    let mut lost = lost.filter(|loss| loss.what.contains(line) && loss.why.contains(why));
    assert!(lost.next().is_some(), "{frontend}:\n{}", losses(&converted));
    listener(&converted, "f")
}

/// The listener is left out because of this line.
fn left_out(frontend: &str, line: &str) {
    let Err(Refused::Nothing { losses, .. }) = made_of(frontend, "") else {
        panic!("{frontend}: it is there");
    };
    assert!(
        losses.iter().any(|loss| loss.what.contains(line)),
        "{losses:?}"
    );
}

const DEFAULT: &str = " default_backend b\n";
const WAIT: &str = " tcp-request inspect-delay 2s\n default_backend b\n";
