//! `[[listeners.NAME.routes]]`.

use super::super::key::{Key, Kind, Syntax, Table};
use super::values::{UPSTREAM_NAME, networks};
use crate::sections::route::{
    ROUTE_NAMES_MAX, ROUTE_UPSTREAMS_MAX, ROUTE_VALUES_MAX, ROUTE_WEIGHT_MAX,
};

pub(super) static ROUTE: Table = Table {
    path: "listeners.NAME.routes[0]",
    about: "A route, written as `[[listeners.NAME.routes]]`. It suits a connection that has one of what each of `sni`, `alpn`, \
        `source`, `peer` and `port` asks for. It says `upstream`, `upstreams` or `reject`.",
    keys: &[
        Key::optional(
            "name",
            Kind::Text(Syntax {
                what: "text",
                accepted: &["canary"],
                refused: &["", "a\nb"],
                pattern: "",
            }),
            "its place among the routes, from 1",
            "what it is called in metrics, in the access log and at `/connections`. Routes of one name are counted together",
        ),
        Key::optional(
            "sni",
            Kind::TextOrTexts {
                of: Syntax {
                    what: "server name",
                    accepted: &["a.example.com", "*.b.example.com", "*"],
                    refused: &["", "a.example.com:443", "https://a", "a.*", "*a"],
                    pattern: "",
                },
                max: ROUTE_NAMES_MAX,
            },
            "any, or none",
            "names of which the client asks for one under TLS: `\"a.example.com\"`; `\"*.b.example.com\"`, which is every name \
             below, at any depth, and not `b.example.com` itself; or `\"*\"`, any name. Of a client that encrypts its hello \
             (ECH) it is the outer name",
        )
        .advising("write names, as in sni = [\"a.example.com\"]"),
        Key::optional(
            "alpn",
            Kind::TextOrTexts {
                of: Syntax {
                    what: "protocol",
                    accepted: &["h2", "http/1.1", "postgresql"],
                    refused: &[""],
                    pattern: "",
                },
                max: ROUTE_VALUES_MAX,
            },
            "any, or none",
            "protocols of which the client offers one under TLS. A hello whose list of protocols has more than 1,024 bytes, lengths \
             included, is refused (browsers send 14)",
        )
        .advising("write names of protocols, as in alpn = [\"h2\"]"),
        Key::optional(
            "source",
            Kind::TextOrTexts {
                of: networks("network or address"),
                max: ROUTE_VALUES_MAX,
            },
            "anywhere",
            "where the client is: the announced one, where its peer announces it by the PROXY protocol",
        )
        .advising("write networks, as in source = [\"10.0.0.0/8\"]"),
        Key::optional(
            "peer",
            Kind::TextOrTexts {
                of: networks("network or address"),
                max: ROUTE_VALUES_MAX,
            },
            "anywhere",
            "where the one is who has connected, whichever client it announces by the PROXY protocol: a balancer, or the client \
             itself",
        )
        .advising("write networks, as in peer = [\"10.0.0.0/8\"]"),
        Key::optional(
            "port",
            Kind::Ports {
                max: ROUTE_VALUES_MAX,
            },
            "any",
            "ports of the listener of which the connection has come to one",
        )
        .advising("write ports, as in port = [8001, \"8010-8019\"]"),
        Key::optional(
            "upstream",
            UPSTREAM_NAME,
            "see `upstreams` and `reject`",
            "where the connections go",
        ),
        Key::optional(
            "upstreams",
            Kind::Weights {
                highest: ROUTE_WEIGHT_MAX,
                max: ROUTE_UPSTREAMS_MAX,
            },
            "see `upstream` and `reject`",
            "where they go by weight, as in `{ web = 90, canary = 10 }`: of so many connections in a row as the weights are \
             together, each upstream gets its weight. One with 0 gets none",
        )
        .advising("write names and weights, as in upstreams = { web = 90, canary = 10 }"),
        Key::new("reject", Kind::Boolean, "false", "the connections are refused"),
    ],
};
