//! `[upstreams.NAME.agent]`.

use std::time::Duration;

use super::super::key::{Key, Kind, Syntax, Table};
use super::health::PORT;
use super::values::HOUR;

pub(crate) static AGENT: Table = Table {
    path: "upstreams.NAME.agent",
    about: "An agent on each server's host, beside the checks: who connects to it gets one line of words, as HAProxy's agent-check has \
        them. `75%` is the share of the configured weight that counts; `maxconn:30` stands for `max_connections` of the server (0: no \
        limit); `down`, `fail` and `stopped` take it down, until the agent says `up`; `drain` and `maint` keep new connections from \
        it, until it says `ready`; what follows a `#` is for people. What a line doesn't say stays as it is, over reloads and switches \
        of schedulers, too. A server is up where its checks and its agent say so. An agent that can't be asked changes nothing. See \
        [Inside](inside.md#agents).",
    keys: &[
        Key::required(
            "port",
            PORT,
            "write the port at which agents listen, as in port = 9777",
            "the port at which the agent of each server listens, at the server's address",
        ),
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(100),
                max: HOUR,
            },
            "\"2s\"",
            "how often each agent is asked, at random up to a tenth later",
        ),
        Key::new(
            "timeout",
            // As that of checks, which go by the same thread.
            Kind::Duration {
                min: Duration::from_millis(1),
                max: Duration::from_secs(10),
            },
            "\"1s\"",
            "how long an agent may take, from the connect to the end of its line",
        ),
        Key::optional(
            "send",
            Kind::Text(Syntax {
                what: "text of 1 to 1024 bytes",
                accepted: &["web\\n", "state of web"],
                refused: &[""],
                pattern: "",
            }),
            "nothing",
            "what an agent is told first, such as the name of the service and a newline",
        ),
    ],
};
