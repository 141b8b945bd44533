//! `[upstreams.NAME.discovery]`.

use std::time::Duration;

use super::super::key::{Absent, Key, Kind, Syntax, Table};
use super::values::HOUR;
use crate::sections::discovery::NAMESERVERS_MAX;

/// The name of a namespace or a service (RFC 1035, and 1123).
const NAME: Syntax = Syntax {
    what: "name of 1 to 63 of `a-z 0-9 -`",
    accepted: &["web", "redis-0"],
    refused: &["", "Web", "a.b", "a/b", "-a"],
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
};

const FILE: Syntax = Syntax {
    what: "absolute path",
    accepted: &["/run/secrets/token"],
    refused: &["token", "/run/secrets/", ""],
    pattern: "^/.*[^/]$",
};

static KUBERNETES: Table = Table {
    path: "upstreams.NAME.discovery.kubernetes",
    about: "A service of Kubernetes, whose EndpointSlices are listed and watched. The account must be allowed to `list` and `watch` \
        `endpointslices` of the group `discovery.k8s.io` there.",
    keys: &[
        Key::required(
            "service",
            Kind::Text(NAME),
            "write the service, as in service = \"web\"",
            "the name of the service",
        ),
        Key::optional(
            "namespace",
            Kind::Text(NAME),
            "the pod's",
            "the namespace of the service",
        ),
        Key::optional(
            "port",
            Kind::Text(Syntax {
                what: "name or number",
                accepted: &["http", "8080"],
                refused: &["", "0", "65536", "Http", "a_b"],
                pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            }),
            "the only one",
            "the port of the pods, by its name in the service, or by its number",
        ),
        Key::optional(
            "api",
            Kind::Text(Syntax {
                what: "URL",
                accepted: &["https://10.0.0.1:6443", "http://127.0.0.1:8001"],
                refused: &["10.0.0.1:6443", "https://", "ftp://a/", ""],
                pattern: "^https?://[^\\s]+$",
            }),
            "the API server that a pod is told of",
            "the API server: by TLS, or in the clear, as from `kubectl proxy`",
        ),
        Key::optional(
            "token_file",
            Kind::Text(FILE),
            "the pod's, if it has one and asks by TLS",
            "the file of the account's token, which is read again each minute",
        ),
        Key::optional(
            "ca_file",
            Kind::Text(FILE),
            "the pod's",
            "the file of the authorities that sign the API server's certificate, in PEM",
        ),
    ],
};

pub(crate) static DISCOVERY: Table = Table {
    path: "upstreams.NAME.discovery",
    about: "Who says which servers there are, beside those of `servers`: one of `dns`, `file`, `http` and `kubernetes`. A source that fails, or \
        names no server, or one that there can't be, keeps the servers that it named last. See [Discovery](discovery.md).",
    keys: &[
        Key::optional(
            "dns",
            Kind::Text(Syntax {
                what: "name",
                accepted: &["_redis._tcp.example.com", "redis.default.svc:6379"],
                refused: &[
                    "example.com",
                    "_redis.example.com",
                    "10.0.0.1:80",
                    "unix:/run/redis.sock",
                    "",
                ],
                pattern: "^(_.+|.+:[0-9]+)$",
            }),
            "another source",
            "`\"_service._proto.domain\"`: the servers of its SRV records, by their weights, those of the most preferred priority; \
             `\"host:port\"`: each address of the host is a server. Asked again when the TTL is over, after 1 s to 5 min",
        )
        .advising("write who says which servers there are, as in dns = \"_redis._tcp.example.com\""),
        Key::optional(
            "file",
            Kind::Text(Syntax {
                what: "absolute path",
                accepted: &["/etc/corelane/servers.json", "/run/servers.toml"],
                refused: &["servers.json", "/etc/corelane/", ""],
                pattern: "^/.*[^/]$",
            }),
            "another source",
            "a file that lists servers, in TOML if it is named `.toml`, else in JSON. It is read again when it is replaced or \
             written",
        ),
        Key::optional(
            "http",
            Kind::Text(Syntax {
                what: "URL",
                accepted: &[
                    "http://127.0.0.1:8500/v1/health/service/web?passing",
                    "http://[::1]:8080/servers",
                    "http://registry.example",
                ],
                refused: &[
                    "https://registry.example/servers",
                    "registry.example:80",
                    "http://",
                    "http://a b/",
                    "http://10.0.0.1:0/",
                    "",
                ],
                pattern: "^http://[^\\s]+$",
            }),
            "another source",
            "a page that lists servers in JSON, asked for with the ETag of the last one. What is below \
             `/v1/health/service/` is Consul's health API, which is asked by blocking queries",
        ),
        Key {
            absent: Absent::Means("another source"),
            ..Key::table("kubernetes", &KUBERNETES)
        },
        Key::optional(
            "nameservers",
            Kind::Texts {
                of: Syntax {
                    what: "addresses",
                    accepted: &["127.0.0.1:8600", "[::1]:53"],
                    refused: &["127.0.0.1", "ns.example:53", "127.0.0.1:0", ""],
                    pattern: "^.+:[0-9]+$",
                },
                max: NAMESERVERS_MAX,
            },
            "those of `/etc/resolv.conf`, after `/etc/hosts`",
            "who is asked for names, with whole names",
        )
        .advising("write name servers, as in nameservers = [\"127.0.0.1:8600\"]"),
        Key::new(
            "interval",
            Kind::Duration {
                min: Duration::from_millis(100),
                max: HOUR,
            },
            "\"10s\"",
            "how often a page is asked for, and how soon a source of either kind is asked again after a failure, within 5 s",
        ),
        Key::new(
            "max_ttl",
            Kind::Duration {
                min: Duration::from_secs(1),
                max: Duration::from_secs(300),
            },
            "\"5m\"",
            "how long an answer of name servers is good for at most, whatever its TTL says: `dns` is asked again then",
        ),
    ],
};
