//! Listeners, servers and connections.

use super::*;

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
fn what_the_proxy_has_found_is_shown_as_it_is() {
    let mut view = view_of(state(), Some(listed(&[("10.0.0.7:1", "a:1")])));
    for code in ['/', 'z', 'z'].map(KeyCode::Char) {
        press(&mut view, code);
    }
    let all = |view: &View| screen(view, 120, 24).concat();
    assert!(!all(&view).contains("10.0.0.7"), "nothing there has it");
    view.on_update(Update::Finds(view.filter.words()));
    let mut found = listed(&[("10.0.0.8:1", "a:1")]);
    found.total = 3;
    view.on_update(Update::State(Box::new(state()), Some(found)));
    let all = all(&view);
    assert!(all.contains("10.0.0.8"), "{all}");
    assert!(
        all.contains("connections: 3 of 12, here the 1 with"),
        "{all}"
    );
}

#[test]
fn a_server_has_its_queue_its_checks_time_and_what_becomes_of_its_connections() {
    let mut busy = state();
    busy.unix_seconds = 1000.0;
    let server = &mut busy.servers[0];
    server.state = "down".to_owned();
    server.since = Some(990.0);
    server.check_seconds = Some(0.0123);
    server.closing = Some(Closing {
        fate: "on_down".to_owned(),
        how: "close".to_owned(),
        until: 1020.0,
    });
    (server.queue, server.queue_seconds) = (Some(4711), Some(61.0));
    for (width, texts) in [
        (
            160,
            &["4711", "1 min 1 s", "12 ms", "closed in 20 s", "10 s"][..],
        ),
        // On the least terminal the queue stays.
        (80, &["down", "4711"][..]),
    ] {
        let lines = screen(&view_of(busy.clone(), None), width, 24);
        let row = row_with(&lines, "10.0.0.1:6379");
        for text in texts {
            assert!(row.contains(text), "{text} at {width}: {row}");
        }
    }
    // Who has none of it has no columns for it.
    let lines = screen(&view_of(state(), None), 160, 24);
    let titles = row_with(&lines, "fail/s");
    for title in ["waits", "ends", "check"] {
        assert!(!titles.contains(title), "{title}: {titles}");
    }
}

#[test]
fn a_server_has_its_state_with_since_when_and_its_share() {
    let mut troubled = state();
    troubled.unix_seconds = 1000.0;
    let server = &mut troubled.servers[0];
    server.state = "failing".to_owned();
    server.why = "connection refused".to_owned();
    server.since = Some(910.0);
    (server.weight, server.wanted, server.had) = (Some(2.0), Some(0.0), Some(0.4));
    let lines = screen(&view_of(troubled, None), 160, 24);
    let row = row_with(&lines, "10.0.0.1:6379");
    for text in ["failing", "1 min 30 s", "connection refused", "40 %/0 %"] {
        assert!(row.contains(text), "{text}: {row}");
    }
}
