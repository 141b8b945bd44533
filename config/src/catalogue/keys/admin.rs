//! `[admin]` and `[access_log]`.

use super::super::key::{Key, Kind, Syntax, Table};
use super::super::syntax::GROUP;
use crate::sections::access_log::FormatName;
use crate::sections::admin::ADMIN_HOSTS_MAX;

pub(super) static ADMIN: Table = Table {
    path: "admin",
    about: "Where the proxy is watched and changed.",
    keys: &[
        Key::new(
            "listen",
            Kind::Text(Syntax {
                what: "address",
                accepted: &[
                    "127.0.0.1:9600",
                    "[::1]:9600",
                    "*:9600",
                    "0.0.0.0:0",
                    "[::]:0",
                ],
                refused: &["127.0.0.1", "localhost:9600", "*", "224.0.0.1:9600"],
                pattern: "^.+:[0-9]+$",
            }),
            "\"127.0.0.1:9600\"",
            "where the live page, `/metrics`, `/healthz`, `/readyz`, `/connections`, `/state` and `/config` are. With port \
             0 the kernel chooses one; `\"[::]:9600\"` and `\"*:9600\"` are as for `bind`",
        ),
        Key::optional(
            "hosts",
            Kind::Texts {
                of: Syntax {
                    what: "names",
                    accepted: &["corelane.example", "*"],
                    refused: &["corelane.example:9600", "http://corelane.example", ""],
                    pattern: "",
                },
                max: ADMIN_HOSTS_MAX,
            },
            "no more names",
            "more names by which people and programs ask the admin server, besides IP addresses, names without a dot and \
             the machine's own; `\"*\"` is every name",
        )
        .advising("write names, as in hosts = [\"corelane.example\"]"),
        Key::optional(
            "socket",
            Kind::Text(Syntax {
                what: "absolute path",
                accepted: &["/run/corelane/admin.sock"],
                refused: &["admin.sock", "/run/corelane/", ""],
                pattern: "^/.*[^/]$",
            }),
            "no such socket",
            "a unix socket for what changes the proxy (`corelane reload`). The caller must be root, the proxy's own user, or in \
             the socket's group",
        ),
        Key::new(
            "socket_mode",
            Kind::Text(Syntax {
                what: "octal mode",
                accepted: &["0600", "0660", "660", "0777"],
                refused: &["0888", "66", "01777", "rw", ""],
                pattern: "^0?[0-7]{3}$",
            }),
            "\"0660\"",
            "the mode of the file of `socket`",
        ),
        Key::optional(
            "socket_group",
            Kind::Text(GROUP),
            "the process's own group",
            "the group of the file of `socket`, by its name or number",
        ),
        Key::optional(
            "token_file",
            Kind::Text(Syntax {
                what: "absolute path",
                accepted: &["/etc/corelane/token"],
                refused: &["token", "/etc/corelane/", ""],
                pattern: "^/.*[^/]$",
            }),
            "nobody changes anything at `listen`",
            "a file with a token: who sends it (`Authorization: Bearer`) may change the proxy at `listen`, too \
             ([api.md](api.md)). It is one line of 16 to 1,024 characters without spaces, which no other user may read or write. A reload reads \
             it again. Where `listen` is no address of loopback, it takes `tls_certificate`",
        ),
        Key::optional(
            "tls_certificate",
            Kind::Text(Syntax {
                what: "absolute path",
                accepted: &["/etc/corelane/admin.pem"],
                refused: &["admin.pem", "/etc/corelane/", ""],
                pattern: "^/.*[^/]$",
            }),
            "plain HTTP",
            "the certificates of `listen` in PEM, its own first: all that is there is asked for by https:// then. A reload reads \
             them again",
        ),
        Key::optional(
            "tls_key",
            Kind::Text(Syntax {
                what: "absolute path",
                accepted: &["/etc/corelane/admin.key"],
                refused: &["admin.key", "/etc/corelane/", ""],
                pattern: "^/.*[^/]$",
            }),
            "none",
            "the private key of `tls_certificate` in PEM, which others than its owner and its group must not read",
        ),
    ],
};

pub(crate) static ACCESS_LOG: Table = Table {
    path: "access_log",
    about: "A line for each connection that has ended; see [access-log.md](access-log.md).",
    keys: &[
        Key::required(
            "path",
            Kind::Text(Syntax {
                what: "`\"stdout\"` or absolute path",
                accepted: &["stdout", "/var/log/corelane/access.log"],
                refused: &["access.log", "/var/log/", "stderr"],
                pattern: "^(stdout|/.*[^/])$",
            }),
            "write where the lines go, as in path = \"/var/log/corelane/access.log\" or path = \"stdout\"",
            "where the lines go. A file is appended to, and made if it doesn't exist",
        ),
        Key::new(
            "format",
            Kind::Choice(FormatName::NAMES),
            "\"text\"",
            "`\"text\"` by the `template`, or `\"json\"`: an object with every field",
        ),
        Key::new(
            "template",
            Kind::Text(Syntax {
                what: "text with fields",
                accepted: &["{time} {client} {server} {end}", "plain", "{{{client}}}"],
                refused: &["", "{clinet}", "{client", "a\nb"],
                pattern: "^.+$",
            }),
            "\"{time} {client} {listener} {server} {bytes_in} {bytes_out} {wait} {connect} {total} {retries} {core} {end}\"",
            "what a line of text is made of",
        ),
        Key::new(
            "queue",
            Kind::Integer {
                min: 1,
                max: 1 << 20,
            },
            "8192",
            "lines that may wait to be written, some 200 bytes of memory each; more are dropped and counted, and no \
             connection waits",
        ),
    ],
};
