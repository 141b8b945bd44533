//! What valid configurations mean.

mod warnings;

use std::env::VarError;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use proxy_config::{
    AccessEntry, AccessLog, Account, Admin, AdminSocket, Admission, Balance, Balancing,
    BindAddress, Check, CompareBy, Config, ConnectionFate, Cores, Destination, FILE_BYTES_MAX,
    Field, Files, Format, GlommioOptions, HashOn, Health, ListenAddress, Loaded, Machine, OnSwitch,
    OverLimit, Piece, Placement, Problems, Rebalance, Runtime, Scheduler, Server, ServerAddress,
    Template, TokioMode, TokioOptions, WhenAllDown, parse,
};

fn config(text: &str) -> Config {
    let loaded = parse(text, "proxy.toml").unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    loaded.config
}

const SMALLEST: &str = r#"
[listeners.a]
bind = "127.0.0.1:0"
upstream = "b"
[upstreams.b]
servers = ["builtin:echo"]
"#;

#[test]
fn what_is_absent_has_its_documented_default() {
    let config = config(SMALLEST);
    assert_eq!(config.runtime, Runtime::default());
    let runtime = Runtime {
        scheduler: Scheduler::Auto,
        cores: Cores::All,
        pin: true,
        drain_timeout: Duration::from_secs(30),
        close_over: None,
        on_switch: OnSwitch::Move,
        watch: false,
        user: None,
        group: None,
        max_connections: None,
        glommio: GlommioOptions {
            ring_depth: NonZeroU32::new(1024).unwrap(),
            preempt_timer: Duration::from_millis(1),
            placement: Placement::ReusePort,
            rebalance: Rebalance {
                enabled: true,
                interval: Duration::from_millis(500),
                threshold: 0.25,
                max_moves: NonZeroU32::new(64).unwrap(),
            },
        },
        tokio: TokioOptions {
            mode: TokioMode::WorkStealing,
        },
    };
    assert_eq!(config.runtime, runtime);
    assert_eq!(
        config.admin,
        Admin {
            listen: ListenAddress::Tcp("127.0.0.1:9600".parse().unwrap()),
            hosts: vec![],
            socket: None,
            token_file: None,
            tls: None,
        }
    );

    let [listener] = config.listeners.as_slice() else {
        panic!("one listener")
    };
    assert_eq!(listener.name, "a");
    assert_eq!(
        listener.binds,
        [BindAddress::Tcp("127.0.0.1:0".parse().unwrap())]
    );
    assert_eq!(
        config.upstream(listener.upstream.expect("a default")).name,
        "b"
    );
    assert_eq!(listener.shares, NonZeroU16::new(1000).unwrap());
    assert_eq!(listener.latency, None);
    assert_eq!(listener.max_connections, None);
    assert_eq!(listener.admission, Admission::default());
    assert_eq!(listener.admission.source_prefix.get(), 64);
    assert_eq!(listener.admission.over_limit, OverLimit::Close);
    assert_eq!(listener.times.idle, Some(Duration::from_secs(3600)));
    assert_eq!(listener.backlog, NonZeroU16::new(4096).unwrap());

    let [upstream] = config.upstreams.as_slice() else {
        panic!("one upstream")
    };
    let server = Server {
        address: ServerAddress::BuiltinEcho,
        weight: 1,
        backup: false,
        max_connections: None,
        check_port: None,
    };
    assert_eq!(upstream.servers, [server]);
    let balancing = Balancing {
        queue: None,
        balance: Balance::RoundRobin,
        hash_on: HashOn::Source,
        compare_by: CompareBy::Connections,
        max_connections: None,
        slow_start: None,
        fallback: None,
        when_all_down: WhenAllDown::Try,
    };
    assert_eq!(upstream.balancing, balancing);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(3));
    assert_eq!(upstream.on_removed, ConnectionFate::Keep);
    assert_eq!(upstream.on_down, ConnectionFate::Keep);
    assert_eq!(upstream.close_over, None);
    assert_eq!(upstream.health, None);
}

#[test]
fn a_table_of_health_is_enough_for_checks() {
    let health = config(&format!("{SMALLEST}[upstreams.b.health]\n")).upstreams[0]
        .health
        .clone();
    let health = health.expect("the section is there");
    assert_eq!(health.check, Check::Tcp);
    assert_eq!(health.interval, Duration::from_secs(2));
    assert_eq!(health.fast_interval, health.interval);
    assert_eq!(health.jitter.get(), 10);
    assert_eq!(health.timeout, Duration::from_secs(1));
    assert_eq!((health.rise.get(), health.fall.get()), (2, 3));
    assert_eq!(health.port, None);
}

#[test]
fn a_table_of_ejection_has_the_usual_figures() {
    let small = config(SMALLEST);
    assert_eq!(small.upstreams[0].ejection, None);
    let ejection = config(&format!("{SMALLEST}[upstreams.b.ejection]\n"));
    let ejection = ejection.upstreams[0].ejection.clone().unwrap();
    assert_eq!(ejection.consecutive_failures.get(), 5);
    assert_eq!(ejection.early, Some(Duration::from_secs(1)));
    assert_eq!(ejection.slow_factor.get(), 10);
    assert_eq!(ejection.interval, Duration::from_secs(10));
    assert_eq!(ejection.base, Duration::from_secs(30));
    assert_eq!(ejection.max, Duration::from_secs(300));
    assert_eq!(ejection.largest_share.get(), 10);
    assert_eq!(ejection.panic_threshold.get(), 50);
}

#[test]
fn every_key_can_be_set() {
    let config = config(
        r#"
        upstreams.u.servers = [
            "10.0.0.1:6379",
            { address = "[::1]:6378", weight = 256 },
            "redis.example:6379",
            { address = "unix:/run/redis.sock" },
        ]
        upstreams.u.balance = "least-connections"
        upstreams.u.connect_timeout = "1m30s"
        upstreams.u.on_removed = "reset"
        upstreams.u.on_down = "close"
        upstreams.u.close_over = "30s"
        upstreams.u.health = { interval = "100ms", timeout = "10s", rise = 100, fall = 1 }

        [runtime]
        scheduler = "glommio"
        cores = "0-2,8"
        pin = false
        drain_timeout = "20s"
        close_over = "10s"
        on_switch = "drain"
        max_connections = 5
        watch = true
        user = "65534"
        group = "adm"
        glommio.ring_depth = 0x8000
        glommio.preempt_timer = "100us"
        glommio.placement = "least-loaded"
        glommio.rebalance = { enabled = false, interval = "50ms", threshold = 1e1, max_moves = 1024 }
        tokio.mode = "per-core"

        [admin]
        listen = "[::]:0"
        hosts = ["corelane.example", "*"]
        socket = "/run/admin"
        socket_mode = "600"
        socket_group = "1000"

        [listeners.l]
        bind = ["0.0.0.0:6379", "[::]:6379", "*:6380", "unix:/run/l.sock"]
        upstream = "u"
        shares = 1
        latency = "100ms"
        allow = ["10.0.0.0/8", "unix", "file:/a"]
        deny = "::1/128"
        max_connections_per_source = 4_294_967_295
        source_prefix = 128
        max_rate = 1_000_000
        burst = 1
        max_rate_per_source = 2
        burst_per_source = 3
        over_limit = "wait"
        max_connections = 9_223_372_036_854_775_807
        idle_timeout = "off"
        backlog = 65535
        "#,
    );
    let runtime = Runtime {
        scheduler: Scheduler::Glommio,
        cores: Cores::List(vec![0, 1, 2, 8]),
        pin: false,
        drain_timeout: Duration::from_secs(20),
        close_over: Some(Duration::from_secs(10)),
        on_switch: OnSwitch::Drain,
        max_connections: NonZeroU64::new(5),
        watch: true,
        user: Some(Account::Id(65_534)),
        group: Some(Account::Name("adm".to_owned())),
        glommio: GlommioOptions {
            ring_depth: NonZeroU32::new(32_768).unwrap(),
            preempt_timer: Duration::from_micros(100),
            placement: Placement::LeastLoaded,
            rebalance: Rebalance {
                enabled: false,
                interval: Duration::from_millis(50),
                threshold: 10.0,
                max_moves: NonZeroU32::new(1024).unwrap(),
            },
        },
        tokio: TokioOptions {
            mode: TokioMode::PerCore,
        },
    };
    assert_eq!(config.runtime, runtime);
    assert_eq!(config.admin.listen.to_string(), "[::]:0");
    assert_eq!(config.admin.hosts, ["corelane.example", "*"]);
    let socket = AdminSocket {
        path: PathBuf::from("/run/admin"),
        mode: 0o600,
        group: Some(Account::Id(1000)),
    };
    assert_eq!(config.admin.socket, Some(socket));

    let listener = &config.listeners[0];
    let binds: Vec<String> = listener.binds.iter().map(BindAddress::to_string).collect();
    assert_eq!(
        binds,
        ["0.0.0.0:6379", "[::]:6379", "*:6380", "unix:/run/l.sock"]
    );
    assert_eq!(listener.binds[2], BindAddress::Every(6380));
    assert_eq!(listener.shares, NonZeroU16::MIN);
    assert_eq!(listener.latency, Some(Duration::from_millis(100)));
    assert_eq!(listener.max_connections, NonZeroU64::new(i64::MAX as u64));
    let admission = &listener.admission;
    let entries =
        |list: &[AccessEntry]| list.iter().map(AccessEntry::to_string).collect::<Vec<_>>();
    assert_eq!(entries(&admission.allow), ["10.0.0.0/8", "unix", "file:/a"]);
    assert_eq!(entries(&admission.deny), ["::1"]);
    let source = admission.max_connections_per_source;
    assert_eq!(source, NonZeroU32::new(u32::MAX));
    assert_eq!(admission.source_prefix.get(), 128);
    assert_eq!(admission.max_rate, NonZeroU32::new(1_000_000));
    assert_eq!(admission.burst, NonZeroU32::new(1));
    assert_eq!(admission.max_rate_per_source, NonZeroU32::new(2));
    assert_eq!(admission.burst_per_source, NonZeroU32::new(3));
    assert_eq!(admission.over_limit, OverLimit::Wait);
    assert_eq!(listener.times.idle, None);
    assert_eq!(listener.backlog, NonZeroU16::MAX);

    let upstream = &config.upstreams[0];
    let addresses: Vec<_> = upstream
        .servers
        .iter()
        .map(|server| &server.address)
        .collect();
    let redis = ServerAddress::Name {
        host: "redis.example".to_owned(),
        port: 6379,
    };
    assert_eq!(
        addresses[0],
        &ServerAddress::Socket("10.0.0.1:6379".parse().unwrap())
    );
    assert_eq!(
        addresses[1],
        &ServerAddress::Socket("[::1]:6378".parse().unwrap())
    );
    assert_eq!(addresses[2], &redis);
    assert_eq!(
        addresses[3],
        &ServerAddress::Unix(PathBuf::from("/run/redis.sock"))
    );
    let weights: Vec<u16> = upstream
        .servers
        .iter()
        .map(|server| server.weight)
        .collect();
    assert_eq!(weights, [1, 256, 1, 1]);
    assert_eq!(upstream.balancing.balance, Balance::LeastConnections);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(90));
    assert_eq!(upstream.on_removed, ConnectionFate::Reset);
    assert_eq!(upstream.on_down, ConnectionFate::Close);
    assert_eq!(upstream.close_over, Some(Duration::from_secs(30)));
    let health = Health {
        interval: Duration::from_millis(100),
        fast_interval: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        rise: NonZeroU32::new(100).unwrap(),
        fall: NonZeroU32::MIN,
        ..Health::default()
    };
    assert_eq!(upstream.health, Some(health));
}

#[test]
fn cores_can_be_a_number() {
    let cores = config(&format!("runtime.cores = 4\n{SMALLEST}"))
        .runtime
        .cores;
    assert_eq!(cores, Cores::Count(NonZeroUsize::new(4).unwrap()));
}

#[test]
fn the_order_is_that_of_the_file() {
    let config = config(
        r#"
        [upstreams.z]
        servers = ["z:1"]
        [listeners.b]
        bind = "127.0.0.1:1"
        upstream = "a"
        [upstreams.a]
        servers = ["a:1"]
        [listeners.a]
        bind = "127.0.0.1:2"
        upstream = "z"
        "#,
    );
    let listeners: Vec<&str> = config.listeners.iter().map(|l| l.name.as_str()).collect();
    let upstreams: Vec<&str> = config.upstreams.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(listeners, ["b", "a"]);
    assert_eq!(upstreams, ["z", "a"]);
    assert_eq!(
        config
            .upstream(config.listeners[0].upstream.expect("a default"))
            .name,
        "a"
    );
    assert_eq!(
        config
            .upstream(config.listeners[1].upstream.expect("a default"))
            .name,
        "z"
    );
}

#[test]
fn the_admin_server_can_have_every_address() {
    let listen = config(&format!("admin.listen = \"*:9600\"\n{SMALLEST}"))
        .admin
        .listen;
    assert_eq!(listen, ListenAddress::Every(9600));
    assert_eq!(listen.to_string(), "*:9600");
    assert_eq!(listen.local().to_string(), "127.0.0.1:9600");
}

#[test]
fn port_0_can_be_bound_more_than_once() {
    let text = SMALLEST.replace("\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"127.0.0.1:0\"]");
    assert_eq!(config(&text).listeners[0].binds.len(), 2);
}

#[test]
fn a_byte_order_mark_and_windows_lines_are_accepted() {
    config(&format!("\u{feff}{}", SMALLEST.replace('\n', "\r\n")));
}

fn parse_bytes(bytes: &[u8]) -> Result<Loaded, Problems> {
    Files::new("f", bytes, |_| Err(VarError::NotPresent)).parse(Machine::ANY)
}

#[test]
fn a_file_that_is_not_text_is_a_problem() {
    let error = parse_bytes(b"[runtime]\nscheduler = \"\xff\"\n").unwrap_err();
    let expected = "f:2:14: this is not UTF-8 text; save the file as UTF-8";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_that_is_cut_within_a_character_is_too_large() {
    let bytes = "é".repeat(FILE_BYTES_MAX / 2 + 1);
    let error = parse_bytes(&bytes.as_bytes()[..=FILE_BYTES_MAX]).unwrap_err();
    assert!(error.to_string().contains("is larger than"), "{error}");
}

#[test]
fn access_log() {
    assert_eq!(config(SMALLEST).access_log, None);
    let written = |lines: &str| {
        let config = config(&format!("[access_log]\n{lines}\n{SMALLEST}"));
        config.access_log.expect("it is written")
    };
    let default = AccessLog {
        destination: Destination::Stdout,
        format: Format::Text(Template::default()),
        queue: NonZeroU32::new(8192).unwrap(),
    };
    assert_eq!(written("path = \"stdout\""), default);
    let json = written("path = \"/var/log/a b\"\nformat = \"json\"\nqueue = 1");
    let wanted = AccessLog {
        destination: Destination::File(PathBuf::from("/var/log/a b")),
        format: Format::Json,
        queue: NonZeroU32::MIN,
    };
    assert_eq!(json, wanted);
    let text = written("path = \"stdout\"\nformat = \"text\"\ntemplate = \"{end}!\"");
    let Format::Text(template) = text.format else {
        panic!("it is text");
    };
    assert_eq!(
        template.pieces(),
        [Piece::Field(Field::End), Piece::Text("!".to_owned())]
    );
}
