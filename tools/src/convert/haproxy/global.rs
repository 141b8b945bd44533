//! The section `global`.

use std::time::Duration;

use super::super::plan::Plan;
use super::section::Section;
use super::time;

/// What `[runtime]` has for it, or nothing.
pub(super) fn read(section: &Section, plan: &mut Plan) {
    for line in &section.lines {
        let from = &line.from;
        let words = line.words();
        let number = |text: &str| text.parse::<u64>().ok();
        match words[..] {
            ["maxconn", count] if number(count).is_some() => {
                plan.runtime
                    .set("max_connections", number(count).unwrap_or_default(), from);
            }
            ["nbthread", count] if number(count).is_some() => {
                plan.runtime
                    .set("cores", number(count).unwrap_or_default(), from);
            }
            ["hard-stop-after", after] => match time::parse(after) {
                Some(after) => {
                    plan.runtime
                        .set("drain_timeout", after.max(Duration::from_millis(1)), from)
                }
                None => plan.notes.lose(from, "this is no time"),
            },
            _ => match remark(words[0]) {
                Some(why) => plan.notes.remark(from, why),
                None => plan.notes.lose(
                    from,
                    "corelane has nothing like it, or `convert` does not know it; leave it out",
                ),
            },
        }
    }
}

/// Why a word needs nothing here.
fn remark(word: &str) -> Option<&'static str> {
    Some(match word {
        "daemon" | "master-worker" | "pidfile" => {
            "corelane stays in the foreground; systemd or a supervisor keeps it"
        }
        "user" | "group" | "uid" | "gid" | "chroot" => {
            "the unit of systemd says who corelane is; started by root, it becomes who `user` of [runtime] names"
        }
        "log" | "log-tag" | "log-send-hostname" => {
            "corelane logs to stderr, which systemd keeps; [access_log] has a line for each connection"
        }
        "stats" => {
            "commands go to `socket` of [admin], metrics and a page are at `listen` of [admin]"
        }
        "setenv" | "presetenv" | "unsetenv" | "resetenv" => {
            "variables are used while this is converted"
        }
        "ulimit-n" => "corelane raises its own limit of descriptors as far as it may",
        "node" | "description" => "it is for people; [runtime] has no such key",
        _ if word.starts_with("ssl-")
            || word.starts_with("ca-")
            || word.starts_with("crt-")
            || word.starts_with("tune.") =>
        {
            "it tunes parts of HAProxy that corelane doesn't have"
        }
        _ => return None,
    })
}
