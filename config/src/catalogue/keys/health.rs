//! `[upstreams.NAME.health]`: the checks of an upstream's servers.

use std::time::Duration;

use super::super::key::{Absent, Key, Kind, Syntax, Table};
use super::values::HOUR;
use crate::sections::health::{CheckType, EXPECT_STEPS_MAX, HEADERS_MAX, STATUSES_MAX};

pub(super) const PORT: Kind = Kind::Integer {
    min: 1,
    max: 65_535,
};

pub(crate) static HEALTH: Table = Table {
    path: "upstreams.NAME.health",
    about: "Checks of each server, beside the connections. Without the section there are none, and a server that \
        can't be connected to is left alone for 3 s while others work; then one connection tries it. A server that is down \
        gets connections only when all others are, or have failed to take the one at hand. Where the checks know what a server \
        is (every type but `\"tcp\"` and `\"tls\"`), one that is down gets none at all, unless `when_all_down` is `\"try\"`: a write on a standby is worse than none. There a \
        server is down before its first check, whose result counts at once; a start and a reload wait for that, up to 3 s.",
    keys: &[
        Key::new(
            "type",
            Kind::Choice(CheckType::NAMES),
            "\"tcp\"",
            "what a check is: a connect, closed as soon as it works; a request of HTTP; a handshake of TLS; what `expect` says; \
             the start of a session of PostgreSQL or of MySQL and MariaDB, where a server that asks for a password or refuses \
             the user works; Redis' `PING`, where one that asks for a password works",
        ),
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(100),
                max: HOUR,
            },
            "\"2s\"",
            "how often each server is checked",
        ),
        Key::optional(
            "fast_interval",
            Kind::Duration {
                min: Duration::from_millis(100),
                max: HOUR,
            },
            "`interval`",
            "how long after a check the next one begins while a verdict may be about to change: after a check that says something \
             else than the verdict",
        ),
        Key::new(
            "jitter",
            Kind::Percent { max: 50 },
            "\"10%\"",
            "the part of the interval by which each check is late at most, at random, so that several proxies don't check at once",
        ),
        Key::new(
            "timeout",
            // Servers that don't answer take up the checks that may be under way, of all upstreams: not for long.
            Kind::Duration {
                min: Duration::from_millis(1),
                max: Duration::from_secs(10),
            },
            "\"1s\"",
            "how long a check may take, from the connect to the answer. One that takes longer than the interval is followed by \
             the next one at its next turn",
        ),
        Key::new(
            "rise",
            Kind::Integer { min: 1, max: 100 },
            "2",
            "checks in a row that must pass until a server that is down is up",
        ),
        Key::new(
            "fall",
            Kind::Integer { min: 1, max: 100 },
            "3",
            "checks in a row that must fail until a server that is up is down",
        ),
        Key::optional(
            "port",
            PORT,
            "the server's",
            "another port at which servers are checked, such as that of Patroni. Checks at another port get no PROXY header. A unix \
             socket is checked where it is",
        ),
        Key::new(
            "user",
            Kind::Text(Syntax {
                what: "name of 1 to 32 bytes",
                accepted: &["corelane"],
                refused: &["", "0123456789abcdef0123456789abcdefX"],
                pattern: "",
            }),
            "\"corelane\"",
            "the user of a check of PostgreSQL or MySQL. It need not exist, and needs no password",
        ),
        Key {
            absent: Absent::Means("`GET /`"),
            ..Key::table("http", &HTTP)
        },
        Key::optional(
            "expect",
            Kind::Tables {
                table: &EXPECT,
                example: "{ send_hex = \"0a FF\" }",
                max: EXPECT_STEPS_MAX,
            },
            "none",
            "what is said to a server and expected of it, in turn, where `type` is `\"expect\"`",
        )
        .advising(
            "write steps, as in expect = [{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]",
        ),
        Key {
            absent: Absent::Means("no verification"),
            ..Key::table("tls", &TLS)
        },
    ],
};

pub(crate) static HTTP: Table = Table {
    path: "upstreams.NAME.health.http",
    about: "A check's request of HTTP/1.1, and what its answer must be. Of an answer, 16 KiB are read at most.",
    keys: &[
        Key::new(
            "method",
            Kind::Text(Syntax {
                what: "method",
                accepted: &["GET", "OPTIONS"],
                refused: &["", "GET /", "G\u{e9}T"],
                pattern: "^[A-Za-z-]+$",
            }),
            "\"GET\"",
            "the method of the request",
        ),
        Key::new(
            "path",
            Kind::Text(Syntax {
                what: "path",
                accepted: &["/", "/primary?lag=1MB", "*"],
                refused: &["", "primary", "/a b", "/\r\n"],
                pattern: "^(/[!-~]*|\\*)$",
            }),
            "\"/\"",
            "the path that is asked for, with or without a query",
        ),
        Key::optional(
            "host",
            Kind::Text(Syntax {
                what: "name",
                accepted: &["db.example:8008"],
                refused: &["", "a b", "a\r\n"],
                pattern: "^[!-~]+$",
            }),
            "the server's address",
            "the value of `Host`",
        ),
        Key::optional(
            "headers",
            Kind::Texts {
                of: Syntax {
                    what: "lines `\"Name: value\"`",
                    accepted: &["X-Check: 1", "Authorization: Basic YTpi"],
                    refused: &["X-Check", ": 1", "X-Check: 1\r\nY: 2", "X Check: 1", ""],
                    pattern: "^[A-Za-z0-9-]+:.*$",
                },
                max: HEADERS_MAX,
            },
            "none",
            "more lines of the request's head; one that the check has itself, such as `User-Agent`, stands in its place",
        )
        .advising("write lines, as in headers = [\"X-Check: 1\"]"),
        Key::optional(
            "status",
            Kind::Statuses { max: STATUSES_MAX },
            "200 to 399",
            "the statuses that pass",
        )
        .advising("write statuses, as in status = [200, \"300-399\"]"),
        Key::optional(
            "body",
            TEXT,
            "whatever it is",
            "text that must be in the body",
        ),
        Key::optional(
            "body_regex",
            REGEX,
            "whatever it is",
            "the same as a regular expression, in the syntax of the crate [regex](https://docs.rs/regex#syntax)",
        ),
    ],
};

pub(crate) static EXPECT: Table = Table {
    path: "upstreams.NAME.health.expect[0]",
    about: "A step of a check: one of these keys. What is expected may come anywhere in what follows what the step before has \
        found. A check fails when the timeout is over, when the server closes the connection, or after 16 KiB; where a server \
        stays silent or goes on after an answer that should fail, let it close the connection: \
        `{ send = \"INFO replication\\r\\nQUIT\\r\\n\" }`.",
    keys: &[
        Key::optional("send", TEXT, "", "text that is sent"),
        Key::optional(
            "send_hex",
            HEX,
            "",
            "the same as bytes, in hexadecimal digits",
        ),
        Key::optional("expect", TEXT, "", "text that is waited for"),
        Key::optional(
            "expect_hex",
            HEX,
            "",
            "the same as bytes, in hexadecimal digits",
        ),
        Key::optional(
            "expect_regex",
            REGEX,
            "",
            "the same as a regular expression over bytes, in the syntax of the crate [regex](https://docs.rs/regex#syntax)",
        ),
    ],
};

pub(crate) static TLS: Table = Table {
    path: "upstreams.NAME.health.tls",
    about: "How a check of TLS judges a server's certificate. When it expires is a metric, whatever is verified.",
    keys: &[
        Key::new(
            "verify",
            Kind::Boolean,
            "false",
            "whether the certificate must be valid, of the name that is asked for, and signed by who is trusted",
        ),
        Key::optional(
            "ca",
            Kind::Text(Syntax {
                what: "path",
                accepted: &["/etc/corelane/ca.pem"],
                refused: &["", "ca.pem"],
                pattern: "^/.*$",
            }),
            "whoever the system trusts",
            "a file of certificates in PEM that are trusted. It is read at the start and at a reload",
        ),
        Key::optional(
            "server_name",
            Kind::Text(Syntax {
                what: "name or IP address",
                accepted: &["db.example", "192.0.2.7"],
                refused: &["", "a b", "a:1"],
                pattern: "^[A-Za-z0-9._:-]+$",
            }),
            "the server's address",
            "the name that is asked for (SNI), and that the certificate must have",
        ),
    ],
};

const TEXT: Kind = Kind::Text(Syntax {
    what: "text of 1 to 1024 bytes",
    accepted: &["+PONG", "role:master"],
    refused: &[""],
    pattern: "",
});

const HEX: Kind = Kind::Text(Syntax {
    what: "hexadecimal digits of 1 to 1024 bytes",
    accepted: &["0aFF", "0a ff"],
    refused: &["", "0", "0g", "0x10"],
    pattern: "^[0-9a-fA-F ]+$",
});

const REGEX: Kind = Kind::Text(Syntax {
    what: "regular expression",
    accepted: &["role:(master|primary)", "(?-u)\\x00\\xff"],
    refused: &["", "(", "a{100000}{1000}"],
    pattern: "",
});
