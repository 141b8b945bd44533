//! What is said about configurations that are not valid, and where.

use proxy_config::{
    BINDS_MAX, FILE_BYTES_MAX, LISTENERS_MAX, PROBLEMS_MAX, SERVERS_MAX, UPSTREAMS_MAX, parse,
};

const LISTENER: &str = "[listeners.l]\nbind = \"127.0.0.1:1\"\nupstream = \"u\"\n";
const UPSTREAM: &str = "[upstreams.u]\nservers = [\"a:1\"]\n";

/// The problems of a text, each without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = parse(text, "f") else {
        panic!("this is valid:\n{text}");
    };
    assert_eq!(problems.omitted(), 0);
    let line = |problem: &proxy_config::Problem| problem.to_string().split_off("f:".len());
    problems.as_slice().iter().map(line).collect()
}

/// Asserts the only problem of each text, which starts at the given line and column.
fn assert_problems(render: impl Fn(&str) -> String, cases: &[(&str, &str)]) {
    for (written, problem) in cases {
        assert_eq!(problems(&render(written)), [*problem], "{written}");
    }
}

#[test]
fn runtime() {
    let render = |lines: &str| format!("[runtime]\n{lines}\n{LISTENER}{UPSTREAM}");
    let cores = "2:9: `runtime.cores` must be \"all\", a number of cores from 1 to 1024 \
        or a list of CPUs such as \"0-3,8\", not";
    assert_problems(
        render,
        &[
            (
                "schedular = \"auto\"",
                "2:1: unknown key `schedular` in [runtime]; did you mean `scheduler`?",
            ),
            (
                "zzz = 1",
                "2:1: unknown key `zzz` in [runtime]; the keys are scheduler, cores, pin, \
                 drain_timeout, glommio, tokio",
            ),
            (
                "scheduler = \"glomio\"",
                "2:13: `runtime.scheduler` must be \"glommio\" or \"tokio\" or \"auto\", \
                 not \"glomio\"; did you mean \"glommio\"?",
            ),
            (
                "scheduler = 1",
                "2:13: `runtime.scheduler` must be \"glommio\" or \"tokio\" or \"auto\", not 1",
            ),
            ("cores = 0", &format!("{cores} 0")),
            ("cores = -1", &format!("{cores} -1")),
            ("cores = 1025", &format!("{cores} 1025")),
            ("cores = \"al\"", &format!("{cores} \"al\"")),
            ("cores = [0, 1]", &format!("{cores} an array")),
            (
                "cores = \"0,0\"",
                &format!("{cores} \"0,0\"; CPU 0 is listed twice"),
            ),
            (
                "cores = \"3-1\"",
                &format!("{cores} \"3-1\"; write the range as \"1-3\""),
            ),
            (
                "cores = \"1024\"",
                &format!("{cores} \"1024\"; the largest CPU number is 1023"),
            ),
            (
                "pin = \"yes\"",
                "2:7: `runtime.pin` must be true or false, not \"yes\"",
            ),
            (
                "drain_timeout = 30",
                "2:17: `runtime.drain_timeout` must be a duration from 0s to 365d, not 30; \
                 a duration is a string with a unit, such as \"30s\"",
            ),
            (
                "drain_timeout = \"0.5s\"",
                "2:17: `runtime.drain_timeout` must be a duration from 0s to 365d, not \"0.5s\"; \
                 write whole numbers with the units d, h, m, s, ms, us or ns, the largest first, \
                 as in \"1h30m\"",
            ),
            (
                "drain_timeout = \"366d\"",
                "2:17: `runtime.drain_timeout` must be a duration from 0s to 365d, not \"366d\"",
            ),
            (
                "glommio = 1",
                "2:11: `runtime.glommio` must be a table, not 1",
            ),
            (
                "glommio.ring_dept = 64",
                "2:9: unknown key `ring_dept` in [runtime.glommio]; did you mean `ring_depth`?",
            ),
            (
                "glommio.ring_depth = 1000",
                "2:22: `runtime.glommio.ring_depth` must be a power of two from 64 to 32768, \
                 not 1000",
            ),
            (
                "glommio.ring_depth = 32",
                "2:22: `runtime.glommio.ring_depth` must be a power of two from 64 to 32768, \
                 not 32",
            ),
            (
                "glommio.preempt_timer = \"1s\"",
                "2:25: `runtime.glommio.preempt_timer` must be a duration from 100us to 100ms, \
                 not \"1s\"",
            ),
            (
                "glommio.placement = \"roundrobin\"",
                "2:21: `runtime.glommio.placement` must be \"reuseport\" or \"least-loaded\" or \
                 \"round-robin\" or \"incoming-cpu\", not \"roundrobin\"; did you mean \
                 \"round-robin\"?",
            ),
            (
                "glommio.rebalance.threshold = 0",
                "2:31: `runtime.glommio.rebalance.threshold` must be a number from 0.05 to 10, not 0",
            ),
            (
                "glommio.rebalance.threshold = nan",
                "2:31: `runtime.glommio.rebalance.threshold` must be a number from 0.05 to 10, not nan",
            ),
            (
                "glommio.rebalance.max_moves = 5000",
                "2:31: `runtime.glommio.rebalance.max_moves` must be an integer from 1 to 1024, not \
                 5000",
            ),
            (
                "tokio.mod = \"per-core\"",
                "2:7: unknown key `mod` in [runtime.tokio]; did you mean `mode`?",
            ),
            (
                "tokio.mode = \"percore\"",
                "2:14: `runtime.tokio.mode` must be \"work-stealing\" or \"per-core\", \
                 not \"percore\"; did you mean \"per-core\"?",
            ),
        ],
    );
}

#[test]
fn admin() {
    let render = |lines: &str| format!("[admin]\n{lines}\n{LISTENER}{UPSTREAM}");
    let listen = "2:10: `admin.listen` must be an IP address and port such as \"127.0.0.1:9600\" \
        or \"[::1]:9600\", not";
    assert_problems(
        render,
        &[
            (
                "lisen = 1",
                "2:1: unknown key `lisen` in [admin]; did you mean `listen`?",
            ),
            ("listen = 9600", &format!("{listen} 9600")),
            (
                "listen = \"localhost:9600\"",
                &format!("{listen} \"localhost:9600\""),
            ),
            ("listen = \"127.0.0.1\"", &format!("{listen} \"127.0.0.1\"")),
            (
                "listen = \"127.0.0.1:1\"",
                "4:8: `listeners.l.bind` is \"127.0.0.1:1\", which `admin.listen` has already; \
                 choose another address",
            ),
        ],
    );
}

#[test]
fn listener() {
    let render = |lines: &str| format!("{LISTENER}{lines}\n{UPSTREAM}");
    assert_problems(
        render,
        &[
            (
                "idle_timout = \"1h\"",
                "4:1: unknown key `idle_timout` in [listeners.l]; did you mean `idle_timeout`?",
            ),
            (
                "shares = 0",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 0",
            ),
            (
                "shares = 1001",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 1001",
            ),
            (
                "shares = 0x3e9",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 0x3e9",
            ),
            (
                "shares = 1.5",
                "4:10: `listeners.l.shares` must be an integer from 1 to 1000, not 1.5",
            ),
            (
                "latency = \"99us\"",
                "4:11: `listeners.l.latency` must be a duration from 100us to 100ms, not \"99us\"",
            ),
            (
                "latency = \"off\"",
                "4:11: `listeners.l.latency` must be a duration from 100us to 100ms, \
                 not \"off\"; write whole numbers with the units d, h, m, s, ms, us or ns, \
                 the largest first, as in \"1h30m\"",
            ),
            (
                "max_connections = 0",
                "4:19: `listeners.l.max_connections` must be an integer of at least 1, not 0",
            ),
            (
                "max_connections = 99999999999999999999",
                "4:19: `listeners.l.max_connections` must be an integer of at least 1, \
                 not 99999999999999999999",
            ),
            (
                "idle_timeout = \"0s\"",
                "4:16: `listeners.l.idle_timeout` must be a duration from 1ms to 365d or \"off\", \
                 not \"0s\"",
            ),
            (
                "idle_timeout = false",
                "4:16: `listeners.l.idle_timeout` must be a duration from 1ms to 365d or \"off\", \
                 not false",
            ),
            (
                "backlog = 65536",
                "4:11: `listeners.l.backlog` must be an integer from 1 to 65535, not 65536",
            ),
            (
                "\"ä\\n\" = 1",
                "4:1: unknown key `\"ä\\n\"` in [listeners.l]; the keys are bind, upstream, \
                 shares, latency, max_connections, idle_timeout, backlog, splice",
            ),
        ],
    );
}

#[test]
fn bind() {
    let render = |bind: &str| LISTENER.replace("\"127.0.0.1:1\"", bind) + UPSTREAM;
    let forms = "must be \"IP:PORT\", \"[IPV6]:PORT\" or \"unix:/PATH\", not";
    let an_ip = "listeners have IP addresses: \"0.0.0.0:PORT\" is every IPv4 one, \
        \"[::]:PORT\" every one";
    assert_problems(
        render,
        &[
            (
                "[]",
                "2:8: `listeners.l.bind` is empty; write where to listen, \
                 as in bind = \"127.0.0.1:7000\"",
            ),
            ("80", &format!("2:8: `listeners.l.bind` {forms} 80")),
            (
                "\"localhost:80\"",
                &format!("2:8: `listeners.l.bind` {forms} \"localhost:80\"; {an_ip}"),
            ),
            (
                "[\"[::1]:1\", \":80\"]",
                &format!("2:20: `listeners.l.bind[1]` {forms} \":80\"; {an_ip}"),
            ),
            (
                "\"unix:run\"",
                &format!(
                    "2:8: `listeners.l.bind` {forms} \"unix:run\"; \
                     the path of a socket is absolute and names a file"
                ),
            ),
            (
                "[\"[::1]:1\", \"[0::1]:1\"]",
                "2:20: `listeners.l.bind[1]` is \"[::1]:1\", which `listeners.l.bind[0]` has \
                 already; choose another address",
            ),
        ],
    );
}

#[test]
fn two_listeners_cannot_have_one_address() {
    for bind in ["127.0.0.1:1", "unix:/a"] {
        let first = LISTENER.replace("127.0.0.1:1", bind);
        let second = first.replace("[listeners.l]", "[listeners.\"m.n\"]");
        let problem = format!(
            "5:8: `listeners.\"m.n\".bind` is \"{bind}\", which `listeners.l.bind` has already; \
             choose another address"
        );
        assert_eq!(problems(&format!("{first}{second}{UPSTREAM}")), [problem]);
    }
}

#[test]
fn a_listener_names_an_upstream_of_the_file() {
    let render = |name: &str| {
        let listener = LISTENER.replace("\"u\"", name);
        format!("{listener}[upstreams.redis]\nservers = [\"a:1\"]\n")
    };
    assert_problems(
        render,
        &[
            (
                "\"rediss\"",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not \"rediss\"; \
                 did you mean \"redis\"?",
            ),
            (
                "\"web\"",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not \"web\"; \
                 add a table [upstreams.NAME] of that name",
            ),
            (
                "1",
                "3:12: `listeners.l.upstream` must be the name of an upstream, not 1",
            ),
        ],
    );
}

#[test]
fn a_listener_may_name_an_upstream_that_has_problems() {
    let text = format!("{LISTENER}[upstreams.u]\nservers = [1]\n");
    assert_eq!(problems(&text).len(), 1);
}

#[test]
fn upstream() {
    let render = |lines: &str| format!("{LISTENER}{UPSTREAM}{lines}\n");
    assert_problems(
        render,
        &[
            (
                "balanse = \"round-robin\"",
                "6:1: unknown key `balanse` in [upstreams.u]; did you mean `balance`?",
            ),
            (
                "balance = \"random\"",
                "6:11: `upstreams.u.balance` must be \"round-robin\" or \"least-connections\", \
                 not \"random\"",
            ),
            (
                "connect_timeout = \"2h\"",
                "6:19: `upstreams.u.connect_timeout` must be a duration from 1ms to 1h, not \"2h\"",
            ),
            (
                "zzz = 1",
                "6:1: unknown key `zzz` in [upstreams.u]; \
                 the keys are servers, balance, connect_timeout, health",
            ),
            (
                "health = \"2s\"",
                "6:10: `upstreams.u.health` must be a table, not \"2s\"",
            ),
        ],
    );
}

#[test]
fn health() {
    let render = |lines: &str| format!("{LISTENER}{UPSTREAM}[upstreams.u.health]\n{lines}\n");
    let interval = "7:12: `upstreams.u.health.interval` must be a duration from 100ms to 1h, not";
    let timeout = "7:11: `upstreams.u.health.timeout` must be a duration from 1ms to 1h, not";
    assert_problems(
        render,
        &[
            (
                "intervall = \"2s\"",
                "7:1: unknown key `intervall` in [upstreams.u.health]; did you mean `interval`?",
            ),
            (
                "zzz = 1",
                "7:1: unknown key `zzz` in [upstreams.u.health]; \
                 the keys are interval, timeout, rise, fall",
            ),
            (
                "interval = 2",
                &format!("{interval} 2; a duration is a string with a unit, such as \"2s\""),
            ),
            ("interval = \"99ms\"", &format!("{interval} \"99ms\"")),
            ("interval = \"2h\"", &format!("{interval} \"2h\"")),
            ("timeout = \"0s\"", &format!("{timeout} \"0s\"")),
            ("timeout = \"2h\"", &format!("{timeout} \"2h\"")),
            (
                "rise = 0",
                "7:8: `upstreams.u.health.rise` must be an integer from 1 to 100, not 0",
            ),
            (
                "fall = 101",
                "7:8: `upstreams.u.health.fall` must be an integer from 1 to 100, not 101",
            ),
        ],
    );
}

#[test]
fn servers() {
    let render = |servers: &str| LISTENER.to_owned() + &UPSTREAM.replace("[\"a:1\"]", servers);
    let forms = "must be \"HOST:PORT\", \"IP:PORT\", \"[IPV6]:PORT\", \"unix:/PATH\" \
        or \"builtin:echo\", not";
    assert_problems(
        render,
        &[
            (
                "[]",
                "5:11: `upstreams.u.servers` is empty; write where connections go, \
                 as in servers = [\"127.0.0.1:6379\"]",
            ),
            (
                "\"a:1\"",
                "5:11: `upstreams.u.servers` must be an array, not \"a:1\"; \
                 write where connections go, as in servers = [\"127.0.0.1:6379\"]",
            ),
            ("[1]", &format!("5:12: `upstreams.u.servers[0]` {forms} 1")),
            (
                "[\"a:1\", \"10.0.0.256:1\"]",
                &format!(
                    "5:19: `upstreams.u.servers[1]` {forms} \"10.0.0.256:1\"; \
                     this is neither an IP address nor the name of a host"
                ),
            ),
            (
                "[{ address = \"a\" }]",
                &format!(
                    "5:24: `upstreams.u.servers[0].address` {forms} \"a\"; \
                     add a port from 1 to 65535"
                ),
            ),
            (
                "[{ weight = 2 }]",
                "5:12: missing key `address` in `upstreams.u.servers[0]`; \
                 write the server's address, as in address = \"127.0.0.1:6379\"",
            ),
            (
                "[{ address = \"a:1\", wieght = 2 }]",
                "5:31: unknown key `wieght` in `upstreams.u.servers[0]`; did you mean `weight`?",
            ),
            (
                "[{ address = \"a:1\", weight = 257 }]",
                "5:40: `upstreams.u.servers[0].weight` must be an integer from 1 to 256, not 257",
            ),
            (
                "[\"a:1\", { address = \"a:1\", weight = 2 }]",
                "5:31: `upstreams.u.servers[1].address` is \"a:1\", which is listed already; \
                 give it a weight instead",
            ),
        ],
    );
}

#[test]
fn names() {
    let long = "x".repeat(65);
    for (name, shown) in [
        ("\"\"", "\"\"".to_owned()),
        ("\"a b\"", "\"a b\"".to_owned()),
        ("\"ä\"", "\"ä\"".to_owned()),
        (&long, format!("\"{}\"…", "x".repeat(64))),
    ] {
        let text = LISTENER.replace("listeners.l", &format!("listeners.{name}")) + UPSTREAM;
        let rest = "in [listeners] must be 1 to 64 characters of A-Z a-z 0-9 _ . -";
        assert_eq!(problems(&text), [format!("1:1: the name {shown} {rest}")]);
    }
}

#[test]
fn what_is_missing() {
    let no_listeners = "1:1: missing key `listeners` at the top level; add a table \
        [listeners.NAME] with bind = \"127.0.0.1:7000\" and upstream = \"NAME\"";
    let no_upstreams = "1:1: missing key `upstreams` at the top level; add a table \
        [upstreams.NAME] with servers = [\"HOST:PORT\"]";
    assert_eq!(problems(""), [no_listeners, no_upstreams]);
    assert_eq!(
        problems(&format!("[listeners]\n{UPSTREAM}")),
        [
            "1:1: `listeners` is empty; add a table [listeners.NAME] with \
          bind = \"127.0.0.1:7000\" and upstream = \"NAME\""
        ],
    );
    assert_eq!(
        problems("[listeners.l]\n[upstreams.u]\n"),
        [
            "1:1: missing key `bind` in [listeners.l]; write where to listen, \
             as in bind = \"127.0.0.1:7000\"",
            "1:1: missing key `upstream` in [listeners.l]; write where connections go, \
             as in upstream = \"NAME\" for [upstreams.NAME]",
            "2:1: missing key `servers` in [upstreams.u]; write where connections go, \
             as in servers = [\"127.0.0.1:6379\"]",
        ],
    );
}

#[test]
fn what_should_be_a_table() {
    assert_eq!(
        problems("admin = 1\nlisteners = 2\nruntime = [3]\nupstreams.u = 4\n"),
        [
            "1:9: `admin` must be a table, not 1",
            "2:13: `listeners` must be a table, not 2",
            "3:11: `runtime` must be a table, not an array",
            "4:15: `upstreams.u` must be a table, not 4",
        ],
    );
    assert_eq!(
        problems(&format!(
            "[[listeners]]\nbind = \"127.0.0.1:1\"\n{UPSTREAM}"
        )),
        ["1:1: `listeners` must be a table, not an array"],
    );
}

#[test]
fn a_misspelt_key_is_not_missing_too() {
    assert_eq!(
        problems(&format!("{UPSTREAM}[listener.l]\n")),
        ["3:2: unknown key `listener` at the top level; did you mean `listeners`?"],
    );
    assert_eq!(
        problems(&format!(
            "{}{UPSTREAM}",
            LISTENER.replace("upstream", "upsteam")
        )),
        ["3:1: unknown key `upsteam` in [listeners.l]; did you mean `upstream`?"],
    );
}

#[test]
fn all_problems_are_reported_in_the_order_of_the_file() {
    let text = "[upstreams.u]\nservers = [1]\n[listeners.l]\nshares = 0\nbind = 1\n\
        upstream = \"v\"\n[runtime]\npin = 1\n";
    let at = problems(text)
        .iter()
        .map(|problem| problem[..4].to_owned())
        .collect::<Vec<_>>();
    assert_eq!(at, ["2:12", "4:10", "5:8:", "6:12", "8:7:"]);
}

#[test]
fn a_problem_has_the_path_of_its_key() {
    let text = format!("x = 1\n{LISTENER}backlog = 0\n{UPSTREAM}");
    let found = parse(&text, "f").unwrap_err();
    let keys: Vec<_> = found
        .as_slice()
        .iter()
        .map(|problem| problem.key.as_deref())
        .collect();
    assert_eq!(keys, [Some("x"), Some("listeners.l.backlog")]);
}

#[test]
fn syntax_is_reported_alone() {
    let text = "a = \"ü\" b\nb = \"x\nc = 1\nc = 2\n";
    let found = problems(text);
    assert!(
        found
            .iter()
            .all(|problem| problem.contains(": this is not TOML: ")),
        "{found:?}"
    );
    let starts: Vec<&str> = found
        .iter()
        .map(|problem| problem.split(": ").next().unwrap())
        .collect();
    assert_eq!(starts, ["1:9", "2:7", "4:1"]);
    assert_eq!(found[2], "4:1: this is not TOML: duplicate key");
}

#[test]
fn everything_is_bounded() {
    let over = |max: usize, entry: &dyn Fn(usize) -> String| {
        (0..=max).map(entry).collect::<Vec<_>>().concat()
    };
    let listener = |i: usize| {
        format!(
            "[listeners.l{i}]\nbind = \"127.0.0.1:{}\"\nupstream = \"u\"\n",
            i + 1
        )
    };
    let upstream = |i: usize| format!("[upstreams.u{i}]\nservers = [\"a:1\"]\n");
    let server = |i: usize| format!("\"a:{}\",", i + 1);
    let bind = |i: usize| format!("\"127.0.0.1:{}\",", i + 1);

    let text = UPSTREAM.to_owned() + &over(LISTENERS_MAX, &listener);
    assert_eq!(
        problems(&text),
        ["3:2: `listeners` has 257 entries; at most 256 are allowed"]
    );
    let text = LISTENER.replace("\"u\"", "\"u0\"") + &over(UPSTREAMS_MAX, &upstream);
    assert_eq!(
        problems(&text),
        ["4:2: `upstreams` has 1025 entries; at most 1024 are allowed"]
    );
    let servers = over(SERVERS_MAX, &server);
    let text = format!("{LISTENER}[upstreams.u]\nservers = [{servers}]\n");
    let problem = "5:11: `upstreams.u.servers` has 1025 entries; at most 1024 are allowed";
    assert_eq!(problems(&text), [problem]);
    let binds = format!("[{}]", over(BINDS_MAX, &bind));
    let text = LISTENER.replace("\"127.0.0.1:1\"", &binds) + UPSTREAM;
    let problem = "2:8: `listeners.l.bind` has 65 entries; at most 64 are allowed";
    assert_eq!(problems(&text), [problem]);

    let text = over(PROBLEMS_MAX + 1, &|i| format!("k{i} = 1\n")) + LISTENER + UPSTREAM;
    let found = parse(&text, "f").unwrap_err();
    assert_eq!(found.as_slice().len(), PROBLEMS_MAX);
    assert!(found.to_string().ends_with("\n… and 2 more"));

    let problem = "1:1: the file is larger than 1048576 bytes; split its listeners over processes";
    assert_eq!(problems(&"#".repeat(FILE_BYTES_MAX + 1)), [problem]);
}

#[test]
fn long_values_are_cut_and_stay_on_one_line() {
    let long = "é\\n".repeat(1000);
    let text = format!("[runtime]\nscheduler = \"{long}\"\n{LISTENER}{UPSTREAM}");
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with(&format!("not \"{}\"…", "é\\n".repeat(32))),
        "{}",
        found[0]
    );
}

#[test]
fn access_log() {
    let render = |lines: &str| format!("[access_log]\n{lines}\n{LISTENER}{UPSTREAM}");
    let path = "2:8: `access_log.path` must be \"stdout\" or the absolute path of a file, not";
    let template = "3:12: `access_log.template` must be one line of text with fields such as \
        {client}, not";
    assert_problems(
        render,
        &[
            (
                "",
                "1:1: missing key `path` in [access_log]; write where the lines go, as in \
                 path = \"/var/log/corelane/access.log\" or path = \"stdout\"",
            ),
            ("path = \"access.log\"", &format!("{path} \"access.log\"")),
            ("path = \"/var/log/\"", &format!("{path} \"/var/log/\"")),
            ("path = 1", &format!("{path} 1")),
            (
                "path = \"stdout\"\nformt = \"json\"",
                "3:1: unknown key `formt` in [access_log]; did you mean `format`?",
            ),
            (
                "path = \"stdout\"\nformat = \"jsn\"",
                "3:10: `access_log.format` must be \"text\" or \"json\", not \"jsn\"; did you mean \
                 \"json\"?",
            ),
            (
                "path = \"stdout\"\nqueue = 0",
                "3:9: `access_log.queue` must be an integer from 1 to 1048576, not 0",
            ),
            (
                "path = \"stdout\"\ntemplate = \"{clinet} {end}\"",
                &format!(
                    "{template} \"{{clinet}} {{end}}\"; there is no field \"clinet\"; did you mean \
                     \"client\"?"
                ),
            ),
            (
                "path = \"stdout\"\ntemplate = \"{client\"",
                &format!(
                    "{template} \"{{client\"; a brace that is not of a field is written twice"
                ),
            ),
            (
                "path = \"stdout\"\ntemplate = \"a\\nb\"",
                &format!(
                    "{template} \"a\\nb\"; the end of the line is added; no other control character \
                     may be in it"
                ),
            ),
            (
                "path = \"stdout\"\ntemplate = \"\"",
                &format!("{template} \"\""),
            ),
            (
                "path = \"stdout\"\ntemplate = \"{client}\"\nformat = \"json\"",
                "3:12: `access_log.template` is for format = \"text\"; remove it, or the format",
            ),
        ],
    );
}
