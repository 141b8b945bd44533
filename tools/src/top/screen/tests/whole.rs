//! The screen as a whole: its head, what is found, cores, keys.

use super::*;

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

/// Where there is room; else in a few lines, and it is seen that there is more. What it is about has its place still.
#[test]
fn findings_are_told_in_whole_or_with_a_sign_that_there_is_more() {
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
    let view = view_of(troubled, Some(Connections::default()));
    let short = screen(&view, 80, 24);
    let told: Vec<_> = short.iter().map(|line| line.trim_end()).collect();
    assert_eq!(
        told[1..6],
        [
            "! core 1 is at 97 %, the other at 20 %",
            "  why: it moves 100 % of the bytes with 9 % of the connections: a few heavy …",
            "  what helps: see that [runtime.glommio.rebalance] is enabled, which moves",
            "  connections, or try scheduler = \"tokio\", which shares them",
            "~ 3 servers can't be connected to, database-17.eu-central.example.net:5432 of …",
        ]
    );
    line(&short, "core 1");
    let lines = screen(&view, 80, 50);
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
    // Each core has a sign in the map, at its place.
    let map: Vec<_> = lines[first + 1].chars().collect();
    assert_eq!(map[..9].iter().collect::<String>(), "0–63     ");
    assert_eq!((map[9], map[9 + 1], map[9 + 63]), ('·', '▁', '▅'));
    assert_eq!(map[9 + 64], ' ');
    for (place, core) in [(2, "core 63 "), (3, "core 62 ")] {
        let line = &lines[first + place];
        assert!(line.starts_with(core), "{line}");
    }
    line(&lines, "redis");
}

#[test]
fn idle_cores_leave_room_for_servers_that_are_down() {
    let mut many = state();
    let core = |index| Core {
        utilization: if index < 6 { 0.5 } else { 0.0 },
        ..Core::default()
    };
    many.cores = (0..64).map(core).collect();
    (many.version, many.host) = ("1.2.3".to_owned(), "eu-1".to_owned());
    let down = many.servers[0].clone();
    many.servers = (0..10)
        .map(|server| Server {
            server: format!("10.0.0.{server}:1"),
            ..down.clone()
        })
        .collect();
    (
        many.listeners[0].connections,
        many.listeners[0].max_connections,
    ) = (100, Some(100));
    many.servers[0].max_connections = Some(7);
    let clients: Vec<_> = (0..100).map(|n| format!("10.9.9.9:{}", 1000 + n)).collect();
    let each: Vec<_> = clients.iter().map(|client| (&client[..], "s:1")).collect();
    let lines = screen(&view_of(many.clone(), Some(listed(&each))), 200, 60);
    assert!(
        lines[0].starts_with("corelane 1.2.3 on eu-1 ● live"),
        "{}",
        lines[0]
    );
    assert_eq!(line(&lines, "… 58 more").trim_end(), "… 58 more, idle");
    for server in 0..10 {
        row_with(&lines, &format!("10.0.0.{server}:1 "));
    }
    assert!(row_with(&lines, "10.0.0.0:1 ").contains("0/7"));
    assert!(row_with(&lines, "redis").contains("100/100"));
    // All that are busy: the cores have a third.
    for core in &mut many.cores {
        core.utilization = 0.5;
    }
    let lines = screen(&view_of(many, Some(listed(&each))), 200, 60);
    let cores = lines.iter().filter(|line| line.starts_with("core "));
    assert_eq!(cores.count(), 18);
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
