use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::*;
use crate::top::keys::{KEYS, on_key};
use crate::top::source::Update;
use proxy_state::{Connection, Connections, Core, Figures, Finding, Listener, Point, Server};

/// Two cores, one of which is hot.
fn state() -> State {
    let core = |cpu, utilization, connections| Core {
        cpu: Some(cpu),
        utilization,
        connections,
        bytes: 2e6,
        ..Core::default()
    };
    let point = |number, hot| Point {
        number,
        utilization: vec![0.25, hot],
        imbalance: Figures::default(),
    };
    State {
        scheduler: "tokio".to_owned(),
        mode: "per-core".to_owned(),
        uptime_seconds: 61.0,
        connections: 12,
        findings: vec![Finding {
            level: Level::Alarm,
            what: "core 1 is at 97 %, the other at 20 %".to_owned(),
            why: "it has 11 of the 12 connections".to_owned(),
            remedy: String::new(),
            ..Finding::default()
        }],
        imbalance: Figures {
            ratio: 0.66,
            stranded: 0.39,
            fairness: 0.7,
        },
        cores: vec![core(0, 0.2, 1), core(1, 0.97, 11)],
        listeners: vec![Listener {
            name: "redis".to_owned(),
            connections: 12,
            bytes_in: 1.5e6,
            ..Listener::default()
        }],
        servers: vec![Server {
            upstream: "pool".to_owned(),
            server: "10.0.0.1:6379".to_owned(),
            up: false,
            bytes_in: 1.5e6,
            bytes_out: 2.4e6,
            ..Server::default()
        }],
        history: vec![point(1, 0.0), point(2, 1.0)],
        ..State::default()
    }
}

fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("memory");
    terminal.draw(|frame| draw(frame, view)).expect("memory");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
    (0..height).map(line).collect()
}

fn view_of(state: State, connections: Option<Connections>) -> View {
    let mut view = View::new("http://127.0.0.1:9600".to_owned());
    view.on_update(Update::State(Box::new(state), connections));
    view
}

fn line<'a>(lines: &'a [String], begin: &str) -> &'a str {
    let found = lines.iter().find(|line| line.starts_with(begin));
    found.unwrap_or_else(|| panic!("no line begins with {begin:?}:\n{}", lines.join("\n")))
}

#[test]
fn a_hot_core_is_seen_and_told() {
    let lines = screen(&view_of(state(), None), 120, 24);
    assert_eq!(
        lines[0].trim_end(),
        "corelane ● live  tokio (per-core)  up 1 min 1 s  12 connections  0 B/s in  0 B/s out"
    );
    let narrow = screen(&view_of(state(), None), 80, 24);
    assert_eq!(
        narrow[0].trim_end(),
        "corelane ● live  tokio (per-core)  12 connections  0 B/s in  0 B/s out"
    );
    assert_eq!(
        lines[1].trim_end(),
        "! core 1 is at 97 %, the other at 20 %"
    );
    assert_eq!(
        lines[2].trim_end(),
        "  why: it has 11 of the 12 connections"
    );
    let cold = line(&lines, "core 0");
    assert!(cold.contains("████················  20 %"), "{cold}");
    let hot = line(&lines, "core 1");
    assert!(hot.contains("███████████████████·  97 %"), "{hot}");
    assert!(hot.contains(" █     11 conns    2.0 MB/s"), "{hot}");
    let figures = line(&lines, "λ 0.66");
    assert!(figures.contains("stranded 39 %  Jain 0.70"), "{figures}");
    let tables = line(&lines, "redis");
    let beside = tables.contains("pool") && tables.contains("10.0.0.1:6379");
    assert!(tables.contains("1.5 MB") && beside, "{tables}");
    assert!(tables.contains("down"), "{tables}");
    assert!(tables.contains("3.9 MB"), "{tables}");
    assert!(
        !lines.concat().contains("client"),
        "no table without connections"
    );
}

/// A figure whose end is cut off would be another one.
#[test]
fn figures_of_the_tables_are_whole_at_any_usual_width() {
    let mut full = state();
    let listener = &mut full.listeners[0];
    listener.connections = 10_000;
    (listener.bytes_in, listener.bytes_out) = (98.7e6, 98.6e6);
    (listener.accepts, listener.rejects, listener.waiting) = (1234.0, 4321.0, 1024);
    let server = &mut full.servers[0];
    server.connections = 20_000;
    (server.bytes_in, server.bytes_out) = (50e6, 47.5e6);
    (server.connects, server.failures) = (5678.0, 8765.0);
    for width in [60, 80, 100, 120, 200] {
        let lines = screen(&view_of(full.clone(), None), width, 24);
        let rows = format!(
            "{} {}",
            line(&lines, "redis"),
            row_with(&lines, "10.0.0.1:6379")
        );
        for figure in [
            "10000", "98.7 MB", "98.6 MB", "4321", "down", "20000", "97.5 MB", "8765", "1234",
            "1024", "5678",
        ] {
            assert!(rows.contains(figure), "{figure} at {width}: {rows}");
        }
    }
    // Where there is no room, whole columns are left out.
    let lines = screen(&view_of(full, None), 44, 24);
    let row = line(&lines, "redis");
    assert!(row.contains("98.6 MB") && row.contains("4321"), "{row}");
    assert!(!row.contains("1024"), "{row}");
}

fn row_with<'a>(lines: &'a [String], text: &str) -> &'a str {
    let found = lines.iter().find(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("no line has {text:?}:\n{}", lines.join("\n")))
}

/// Nothing is cut off at the edge, and what it is about has its place still.
#[test]
fn findings_are_told_in_whole() {
    let finding = |level, what: &str, why: &str, remedy: &str| Finding {
        level,
        what: what.to_owned(),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
        ..Finding::default()
    };
    let mut troubled = state();
    troubled.findings = vec![
        finding(
            Level::Alarm,
            "core 1 is at 97 %, the other at 20 %",
            "it moves 100 % of the bytes with 9 % of the connections: a few heavy ones; no core is short of time yet",
            "see that [runtime.glommio.rebalance] is enabled, which moves connections, or try scheduler = \"tokio\", \
             which shares them",
        ),
        finding(
            Level::Warning,
            "3 servers can't be connected to, database-17.eu-central.example.net:5432 of upstream postgres-replicas is the \
             first",
            "the upstream's other servers are tried instead",
            "",
        ),
    ];
    troubled.advice = vec!["many words and ".repeat(50)];
    let lines = screen(&view_of(troubled, Some(Connections::default())), 80, 24);
    let told: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(
        told[1..8],
        [
            "! core 1 is at 97 %, the other at 20 %",
            "  why: it moves 100 % of the bytes with 9 % of the connections: a few heavy",
            "  ones; no core is short of time yet",
            "  what helps: see that [runtime.glommio.rebalance] is enabled, which moves",
            "  connections, or try scheduler = \"tokio\", which shares them",
            "~ 3 servers can't be connected to, database-17.eu-central.example.net:5432 of",
            "  upstream postgres-replicas is the first",
        ]
    );
    assert!(told[8].starts_with("adviser: "), "{told:?}");
    line(&lines, "core 1");
}

#[test]
fn the_adviser_s_words_are_all_there() {
    const ADVICE: &str = "imbalance 0.8, core 1 at 97 % and the mean at 54 %, for 3 min: set enabled = true in \
        [runtime.glommio.rebalance], or use scheduler = \"tokio\", whose workers steal";
    let mut advised = state();
    assert!(
        !screen(&view_of(advised.clone(), None), 80, 24)
            .concat()
            .contains("adviser")
    );
    advised.advice = vec![ADVICE.to_owned(), "all 2 cores are over 90 %".to_owned()];
    let lines = screen(&view_of(advised, None), 80, 24);
    let first = lines.iter().position(|line| line.starts_with("adviser: "));
    let lines: Vec<_> = lines[first.expect("a line")..]
        .iter()
        .map(|line| line.trim_end())
        .collect();
    assert_eq!(lines[..3].join(" "), format!("adviser: {ADVICE}"));
    assert_eq!(lines[3], "adviser: all 2 cores are over 90 %");
    // What it is about has its place still.
    assert!(
        lines.iter().any(|line| line.starts_with("core 1")),
        "{lines:?}"
    );
}

#[test]
fn connections_are_listed_with_their_order() {
    let connections = Connections {
        total: 700,
        shown: 1,
        connections: vec![Connection {
            client: "10.1.1.1:5000".to_owned(),
            peer: "10.1.0.9:81".to_owned(),
            listener: "redis".to_owned(),
            bytes_in: 3_000,
            bytes_out: 500,
            age_seconds: 90.0,
            state: "relaying".to_owned(),
            ..Connection::default()
        }],
    };
    let mut view = view_of(state(), Some(connections));
    let lines = screen(&view, 120, 30);
    assert!(line(&lines, "▸ connections: 700, ").len() > 20);
    let row = line(&lines, "10.1.1.1:5000");
    assert!(
        row.contains("1 min 30 s") && row.contains("3.5 kB"),
        "{row}"
    );
    assert!(line(&lines, "client").contains("rate▼"));
    view.sort_by_next();
    view.reverse();
    let lines = screen(&view, 120, 30);
    assert!(line(&lines, "client").contains("bytes▲"));
    assert!(lines[29].contains("sort (by bytes)"), "{}", lines[29]);
}

#[test]
fn a_proxy_that_is_away_is_told_and_comes_back() {
    let mut view = View::new("http://127.0.0.1:9600".to_owned());
    assert_eq!(
        line(&screen(&view, 80, 10), "connecting").trim_end(),
        "connecting to http://127.0.0.1:9600 …"
    );
    let away = || Update::Away("connection refused".to_owned());
    view.on_update(away());
    assert!(
        screen(&view, 80, 10)
            .concat()
            .contains("connection refused")
    );
    view.on_update(Update::State(Box::new(state()), None));
    view.on_update(away());
    let lines = screen(&view, 120, 24);
    assert!(
        lines[0].contains("● connecting… this is 0 s old: connection refused"),
        "{}",
        lines[0]
    );
    // What was last seen stays.
    line(&lines, "core 1");
    view.on_update(Update::State(Box::new(state()), None));
    assert!(screen(&view, 120, 24)[0].contains("● live"));
}

#[test]
fn many_cores_are_shown_by_how_busy_they_are() {
    let mut many = state();
    let core = |index| Core {
        utilization: f64::from(index) / 100.0,
        ..Core::default()
    };
    many.cores = (0..64).map(core).collect();
    let lines = screen(&view_of(many, None), 100, 24);
    let first = lines.iter().position(|line| line.contains("busiest of 64"));
    let first = first.expect("a title");
    assert!(
        lines[first + 1].starts_with("core 63 "),
        "{}",
        lines[first + 1]
    );
    assert!(
        lines[first + 2].starts_with("core 62 "),
        "{}",
        lines[first + 2]
    );
    line(&lines, "redis");
}

fn listed(addresses: &[(&str, &str)]) -> Connections {
    let row = |(id, (client, server)): (usize, &(&str, &str))| Connection {
        id: id as u64,
        client: (*client).to_owned(),
        server: Some((*server).to_owned()),
        listener: "redis".to_owned(),
        bytes_in: 3_500_000,
        age_seconds: 4000.0,
        state: "relaying".to_owned(),
        ..Connection::default()
    };
    Connections {
        total: addresses.len() as u64,
        shown: addresses.len() as u64,
        connections: addresses.iter().enumerate().map(row).collect(),
    }
}

const LONG: &str = "[2001:db8:85a3:1234:5678:8a2e:370:7334]:54321";
const LONGER: &str = "[2001:db8:85a3:ffff:ffff:ffff:ffff:7334]:65535";

#[test]
fn addresses_are_whole_at_80_columns() {
    let each = [
        ("127.0.0.1:54321", "127.0.0.1:6379"),
        ("192.168.100.200:54321", "database-17.eu.example.net:5432"),
        ("[2001:db8::1:2]:54321", "[2001:db8::ff00:42:8329]:6379"),
        (LONG, "127.0.0.1:6379"),
        (LONG, LONGER),
    ];
    for (client, server) in each {
        let mut state = state();
        state.servers[0].server = server.to_owned();
        let lines = screen(&view_of(state, Some(listed(&[(client, server)]))), 80, 24);
        let row = row_with(&lines, client);
        assert!(row.contains("0 B/s"), "{row}");
        let of_connections = lines.iter().rev().find(|line| line.contains(server));
        let of_connections = of_connections.unwrap_or_else(|| panic!("{lines:#?}"));
        let of_servers = row_with(&lines, server);
        assert!(of_servers.contains("down"), "{lines:#?}");
        assert_ne!(of_servers, of_connections);
    }
    // As many columns as there is room for.
    let lines = screen(&view_of(state(), Some(listed(&each[..1]))), 80, 24);
    let row = row_with(&lines, each[0].0);
    assert!(row.contains("1 h 6 min") && row.contains("3.5 MB"), "{row}");
    // Where nothing helps, begin and end are there.
    let lines = screen(&view_of(state(), Some(listed(&each[4..]))), 40, 24);
    row_with(&lines, ":54321");
}

fn press(view: &mut View, code: KeyCode) -> bool {
    on_key(view, KeyEvent::from(code))
}

#[test]
fn tables_are_scrolled() {
    let clients: Vec<_> = (0..100).map(|n| format!("10.9.9.9:{}", 1000 + n)).collect();
    let each: Vec<_> = clients.iter().map(|client| (&client[..], "s:1")).collect();
    let mut troubled = state();
    let server = troubled.servers[0].clone();
    troubled.servers = (0..50)
        .map(|n| Server {
            server: format!("10.1.1.1:{}", 2000 + n),
            ..server.clone()
        })
        .collect();
    let mut view = view_of(troubled, Some(listed(&each)));
    let first = |view: &View, network: &str| {
        let lines = screen(view, 80, 24);
        let row = row_with(&lines, network).to_owned();
        let (_, port) = row.split_once(network).expect("it is there");
        port.split(' ').next().expect("a port").to_owned()
    };
    let clients = |view: &View| first(view, "10.9.9.9:");
    assert_eq!(clients(&view), "1000");
    row_with(&screen(&view, 80, 24), "▸ connections: 100 [1-");
    press(&mut view, KeyCode::Down);
    press(&mut view, KeyCode::Down);
    assert_eq!(clients(&view), "1002");
    press(&mut view, KeyCode::PageDown);
    assert_ne!(clients(&view), "1002");
    press(&mut view, KeyCode::End);
    row_with(&screen(&view, 80, 24), "10.9.9.9:1099");
    press(&mut view, KeyCode::PageUp);
    press(&mut view, KeyCode::Home);
    assert_eq!(clients(&view), "1000");
    // The servers are scrolled, too.
    press(&mut view, KeyCode::BackTab);
    row_with(&screen(&view, 80, 24), "▸ upstreams' servers");
    press(&mut view, KeyCode::Char('j'));
    assert_eq!(first(&view, "10.1.1.1:"), "2001");
    assert_eq!(clients(&view), "1000");
    press(&mut view, KeyCode::End);
    row_with(&screen(&view, 80, 24), "10.1.1.1:2049");
}

#[test]
fn rows_are_filtered() {
    let each = [
        ("10.0.0.7:1", "a:1"),
        ("10.0.0.8:1", "b:1"),
        ("10.0.0.9:1", "a:1"),
    ];
    let mut view = view_of(state(), Some(listed(&each)));
    let shown = |view: &View| {
        let all = screen(view, 80, 24).concat();
        ["10.0.0.7", "10.0.0.8", "10.0.0.9"].map(|client| all.contains(client))
    };
    assert_eq!(shown(&view), [true; 3]);
    for code in ['/', 'B', ':', 'q'].map(KeyCode::Char) {
        assert!(press(&mut view, code), "it goes on");
    }
    press(&mut view, KeyCode::Backspace);
    let lines = screen(&view, 80, 24);
    assert!(
        lines[23].contains(" / ") && lines[23].contains("B:"),
        "{}",
        lines[23]
    );
    assert_eq!(shown(&view), [false, true, false]);
    press(&mut view, KeyCode::Enter);
    assert_eq!(shown(&view), [false, true, false]);
    let lines = screen(&view, 80, 24);
    assert!(
        lines[23].contains("all rows, not only \"B:\""),
        "{}",
        lines[23]
    );
    assert!(press(&mut view, KeyCode::Esc), "it ends the filter first");
    assert_eq!(shown(&view), [true; 3]);
    assert!(!press(&mut view, KeyCode::Esc));
}

#[test]
fn help_has_every_key() {
    for key in ['h', '?'] {
        let mut view = view_of(state(), Some(Connections::default()));
        assert!(screen(&view, 80, 24)[23].contains(" h  help"));
        press(&mut view, KeyCode::Char(key));
        let lines = screen(&view, 80, 24);
        for (key, what) in KEYS {
            assert!(row_with(&lines, what).contains(key), "{key}: {lines:#?}");
        }
        assert!(press(&mut view, KeyCode::Esc), "any key goes back");
        assert!(!screen(&view, 80, 24).concat().contains("any key goes back"));
        assert!(!press(&mut view, KeyCode::Char('q')));
    }
}

#[test]
fn what_is_shown_has_an_age_when_nothing_comes() {
    let mut view = view_of(state(), None);
    view.age = std::time::Duration::from_secs(75);
    let stale = |view: &View| screen(view, 80, 24)[0].clone();
    assert!(
        stale(&view).contains("● this is 1 min 15 s old"),
        "{}",
        stale(&view)
    );
    view.on_update(Update::Away("connection refused".to_owned()));
    let told = stale(&view);
    assert!(
        told.contains("this is 1 min 15 s old: connection refused"),
        "{told}"
    );
}

#[test]
fn any_size_is_drawn() {
    for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
        screen(
            &view_of(state(), Some(Connections::default())),
            width,
            height,
        );
        screen(&View::new(String::new()), width, height);
        screen(&view_of(State::default(), None), width, height);
        let advised = State {
            advice: vec!["many words and ".repeat(50); 5],
            ..state()
        };
        screen(&view_of(advised, None), width, height);
    }
}
