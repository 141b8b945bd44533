//! The keys.

mod admin;
mod agent;
mod discovery;
mod ejection;
mod health;
mod listener;
mod route;
mod runtime;
mod socket;
mod upstream;
mod values;

pub(crate) use self::admin::ACCESS_LOG;
use self::admin::ADMIN;
pub(crate) use self::health::HEALTH;
pub(crate) use self::listener::LISTENER;
pub(crate) use self::runtime::RUNTIME;
use self::upstream::UPSTREAM;
use super::key::{Absent, Key, Kind, Syntax, Table};
use crate::config::{LISTENERS_MAX, UPSTREAMS_MAX};
use crate::files::include::INCLUDES_MAX;

pub(crate) static ROOT: Table = Table {
    path: "",
    about: "The file as a whole.",
    keys: &[
        Key::optional(
            "include",
            Kind::Texts {
                of: Syntax {
                    what: "paths",
                    accepted: &["conf.d/*.toml", "/etc/corelane/site.toml"],
                    refused: &["", "conf.d/", "conf.d/**/*.toml"],
                    pattern: "^.*[^/]$",
                },
                max: INCLUDES_MAX,
            },
            "one file",
            "more files of the configuration, relative to the file that includes them",
        )
        .advising("write files, as in include = [\"conf.d/*.toml\"]"),
        Key::table("runtime", &RUNTIME),
        Key::table("admin", &ADMIN),
        Key {
            absent: Absent::Means("no access log"),
            ..Key::table("access_log", &ACCESS_LOG)
        },
        Key::required(
            "listeners",
            Kind::Named {
                table: &LISTENER,
                max: LISTENERS_MAX,
            },
            "add a table [listeners.NAME] with bind = \"127.0.0.1:7000\" and upstream = \"NAME\"",
            LISTENER.about,
        ),
        Key::required(
            "upstreams",
            Kind::Named {
                table: &UPSTREAM,
                max: UPSTREAMS_MAX,
            },
            "add a table [upstreams.NAME] with servers = [\"HOST:PORT\"]",
            UPSTREAM.about,
        ),
    ],
};
