//! What `corelane ctl` changes while connections run, and what becomes of that at a reload and a switch.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;

use crate::ctl::Controlled;
use crate::harness::config::route;
use crate::harness::peer;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;

each_scheduler!(
    a_state_and_a_weight_outlive_reloads_and_switches,
    servers_come_and_go,
    what_is_written_stays_and_what_is_not_goes_with_a_reload,
    each_change_that_is_written_outlives_a_reload_and_keeps_comments,
    a_paused_listener_keeps_clients_waiting_and_a_drained_one_refuses_them,
    one_connection_is_closed_reset_or_moved,
    the_scheduler_switches,
    the_log_says_more_of_a_module,
);

/// A scheduler that is another one.
fn other(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::PerCore => "work-stealing",
        _ => "per-core",
    }
}

/// Switches to another scheduler, and waits until that is over. Returns its name.
fn switch_to_other(controlled: &Controlled, scheduler: Scheduler) -> &'static str {
    let other = other(scheduler);
    controlled.done(&["switch", other]);
    wait::until("the switch is over", || {
        controlled.json(&["schedulers"])["switching"] == false
    });
    other
}

/// An echo that is known by its address, and counts.
pub(crate) struct Echo {
    pub(crate) address: String,
    accepted: Arc<AtomicU64>,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let accepted = Arc::new(AtomicU64::new(0));
        let counts = accepted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counts.fetch_add(1, Relaxed);
                std::thread::spawn(move || {
                    let mut reader = &stream;
                    let _ = std::io::copy(&mut reader, &mut &stream);
                    let _ = stream.shutdown(Shutdown::Write);
                });
            }
        });
        Self { address, accepted }
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }
}

fn try_exchange(mut client: &TcpStream) -> std::io::Result<()> {
    client.write_all(b"still here")?;
    let mut answer = [0; 10];
    client.read_exact(&mut answer)?;
    assert_eq!(&answer, b"still here");
    Ok(())
}

pub(crate) fn exchange(client: &TcpStream) {
    try_exchange(client).expect("it goes on");
}

pub(crate) fn two_servers(scheduler: Scheduler) -> (Controlled, [Echo; 2]) {
    let servers = [Echo::start(), Echo::start()];
    let routes = route(
        "main",
        "127.0.0.1:0",
        &[&servers[0].address, &servers[1].address],
        "",
        "",
    );
    (Controlled::start(scheduler, "", &routes), servers)
}

pub(crate) fn server(controlled: &Controlled, label: &str) -> Value {
    controlled.json(&["servers", "main", label])
}

/// How many of so many new connections each server gets.
pub(crate) fn spread(controlled: &Controlled, servers: &[Echo; 2], count: usize) -> [u64; 2] {
    let before = servers.each_ref().map(|one| one.accepted());
    for _ in 0..count {
        exchange(&controlled.proxy.connect("main"));
    }
    let after = servers.each_ref().map(|one| one.accepted());
    [after[0] - before[0], after[1] - before[1]]
}

fn a_state_and_a_weight_outlive_reloads_and_switches(scheduler: Scheduler) {
    let (controlled, servers) = two_servers(scheduler);
    let [first, second] = servers.each_ref().map(|one| &one.address[..]);
    let open = controlled.proxy.connect("main");
    exchange(&open);
    controlled.done(&["set-server", "main", first, "--state", "drain"]);
    let shown = server(&controlled, first);
    assert_eq!(
        (&shown["state"], &shown["why"]),
        (&"draining".into(), &"set by hand".into())
    );
    let draining = [("server", first), ("state", "draining")];
    assert_eq!(
        controlled
            .proxy
            .metric("corelane_upstream_server_state", &draining),
        1.0
    );
    assert_eq!(spread(&controlled, &servers, 4), [0, 4]);
    // What it has may finish.
    exchange(&open);
    controlled.done(&["reload"]);
    assert_eq!(spread(&controlled, &servers, 4), [0, 4]);
    let other = switch_to_other(&controlled, scheduler);
    assert_eq!(controlled.json(&["schedulers"])["running"], other);
    assert_eq!(spread(&controlled, &servers, 4), [0, 4]);
    exchange(&open);
    controlled.done(&["set-server", "main", first, "--state", "maintenance"]);
    assert_eq!(server(&controlled, first)["state"], "maintenance");
    controlled.done(&["set-server", "main", first, "--state", "ready"]);
    assert_eq!(server(&controlled, first)["state"], "up");
    controlled.done(&["set-server", "main", second, "--weight", "3"]);
    let shown = server(&controlled, second);
    assert_eq!(
        (&shown["weight"], &shown["weight_by_hand"]),
        (&3.into(), &true.into())
    );
    assert_eq!(spread(&controlled, &servers, 8), [2, 6]);
    controlled.done(&["reload"]);
    assert_eq!(spread(&controlled, &servers, 8), [2, 6]);
    controlled.done(&["set-server", "main", second, "--weight", "auto"]);
    assert_eq!(spread(&controlled, &servers, 8), [4, 4]);
    for words in [
        &["set-server", "main", "10.0.0.9:1", "--state", "drain"][..],
        &["set-server", "none", first, "--state", "drain"],
        &["set-server", "main", first, "--weight", "257"],
        &["set-server", "main", first, "--state", "drain", "--write"],
    ] {
        assert_eq!(controlled.ctl(words).status.code(), Some(1), "{words:?}");
    }
    assert_eq!(
        server(&controlled, first)["state"],
        "up",
        "nothing has changed"
    );
    let events = controlled.json(&["events"]);
    let all = events["events"].as_array().expect("a list");
    let of_server = all.iter().filter(|event| event["kind"] == "server");
    assert_eq!(of_server.count(), 5, "{events}");
    drop(open);
    controlled.proxy.stop();
}

fn servers_come_and_go(scheduler: Scheduler) {
    let servers = [Echo::start(), Echo::start()];
    let [first, second] = servers.each_ref().map(|one| &one.address[..]);
    let routes = route("main", "127.0.0.1:0", &[first], "", "");
    let controlled = Controlled::start(scheduler, "", &routes);
    controlled.done(&["add-server", "main", second, "--weight", "3"]);
    assert_eq!(spread(&controlled, &servers, 8), [2, 6]);
    let twice = controlled.ctl(&["add-server", "main", second]);
    assert_eq!(twice.status.code(), Some(1), "{twice:?}");
    let wrong = controlled.ctl(&["add-server", "main", "no address"]);
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && why.contains("address"), "{why}");
    controlled.done(&["remove-server", "main", first]);
    assert_eq!(servers[1].accepted(), 6);
    exchange(&controlled.proxy.connect("main"));
    assert_eq!(servers[1].accepted(), 7);
    let last = controlled.ctl(&["remove-server", "main", second]);
    assert_eq!(
        last.status.code(),
        Some(1),
        "an upstream has a server: {last:?}"
    );
    let difference = controlled.json(&["config", "--diff"]);
    assert_eq!(difference["differs"], true, "{difference}");
    controlled.done(&["reload"]);
    let table = controlled.json(&["servers", "main"]);
    assert_eq!(
        table["servers"][0]["server"], first,
        "the file has the last word"
    );
    controlled.proxy.stop();
}

fn what_is_written_stays_and_what_is_not_goes_with_a_reload(scheduler: Scheduler) {
    let server = Echo::start();
    let another = Echo::start();
    let more = "shares = 100 # as many as the others\nmax_connections = 9";
    let routes = route("main", "127.0.0.1:0", &[&server.address], more, "");
    let controlled = Controlled::start(scheduler, "", &routes);
    let file = controlled.proxy.directory().join("corelane.toml");
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(&file, mode).expect("it is ours");
    let listener = || {
        let all = controlled.json(&["listeners", "main"]);
        (all["shares"].as_u64(), all["max_connections"].as_u64())
    };
    controlled.done(&["set-listener", "main", "shares=7", "max_connections="]);
    assert_eq!(listener(), (Some(7), None));
    let text = || fs::read_to_string(&file).expect("it is ours");
    assert!(text().contains("shares = 100 # as many as the others"));
    controlled.done(&["reload"]);
    assert_eq!(
        listener(),
        (Some(100), Some(9)),
        "the file has the last word"
    );
    controlled.done(&["set-listener", "main", "shares=7", "--write"]);
    controlled.done(&[
        "set-server",
        "main",
        &server.address,
        "--weight",
        "5",
        "--write",
    ]);
    controlled.done(&["add-server", "main", &another.address, "--write"]);
    let written = text();
    for piece in [
        "shares = 7 # as many as the others",
        "weight = 5",
        &another.address,
        "max_connections = 9",
    ] {
        assert!(written.contains(piece), "{piece} in {written}");
    }
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(controlled.json(&["config", "--diff"])["differs"], false);
    controlled.done(&["reload"]);
    assert_eq!(listener(), (Some(7), Some(9)));
    for words in [
        &["set-listener", "main", "shares=0"][..],
        &["set-listener", "main", "shares=0", "--write"],
        &["set-listener", "main", "bind=*:80", "--write"],
        &["set-listener", "none", "shares=1", "--write"],
    ] {
        assert_eq!(controlled.ctl(words).status.code(), Some(1), "{words:?}");
    }
    assert_eq!(
        (text(), listener()),
        (written, (Some(7), Some(9))),
        "nothing has changed"
    );
    let beside = fs::read_dir(controlled.proxy.directory()).expect("a folder");
    let names: Vec<_> = beside.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["corelane.toml"], "nothing is left beside it");
    controlled.proxy.stop();
}

fn each_change_that_is_written_outlives_a_reload_and_keeps_comments(scheduler: Scheduler) {
    let [server, another] = [Echo::start(), Echo::start()].map(|one| one.address);
    let of_listener = "max_connections = 9 # enough";
    let of_upstream = "# soon\nconnect_timeout = \"2s\" # or never";
    let routes = route("main", "127.0.0.1:0", &[&server], of_listener, of_upstream);
    let controlled = Controlled::start(scheduler, "", &routes);
    let file = controlled.proxy.directory().join("corelane.toml");
    let written = |words: &[&str]| {
        controlled.done(&[words, &["--write"]].concat());
        wait::until("no switch runs", || {
            controlled.json(&["schedulers"])["switching"] == false
        });
        controlled.done(&["reload"]);
        let text = fs::read_to_string(&file).expect("it is ours");
        for comment in ["# enough", "# soon", "# or never"] {
            assert!(text.contains(comment), "{words:?}: {text}");
        }
    };
    written(&["set-server", "main", &server, "--weight", "5"]);
    assert_eq!(self::server(&controlled, &server)["weight"], 5);
    written(&["add-server", "main", &another, "--weight", "3"]);
    assert_eq!(self::server(&controlled, &another)["weight"], 3);
    written(&["remove-server", "main", &server]);
    let in_force = controlled.done(&["config"]);
    let is_left = |address: &str| in_force.contains(address);
    assert!(is_left(&another) && !is_left(&server), "{in_force}");
    written(&["set-listener", "main", "max_connections=8", "shares=70"]);
    let listener = controlled.json(&["listeners", "main"]);
    let shown = (&listener["max_connections"], &listener["shares"]);
    assert_eq!(shown, (&8.into(), &70.into()));
    let other = other(scheduler);
    written(&["switch", other, "--cores", "1"]);
    let shown = controlled.json(&["schedulers"]);
    assert_eq!(shown["running"], other);
    assert_eq!(shown["cores"].as_array().map(Vec::len), Some(1));
    assert_eq!(controlled.json(&["config", "--diff"])["differs"], false);
    controlled.proxy.stop();
}

fn a_paused_listener_keeps_clients_waiting_and_a_drained_one_refuses_them(scheduler: Scheduler) {
    let server = Echo::start();
    // A port that stays.
    let bind = format!("127.0.0.1:{}", crate::harness::port::free());
    let routes = route("main", &bind, &[&server.address], "", "");
    let controlled = Controlled::start(scheduler, "", &routes);
    let open = controlled.proxy.connect("main");
    exchange(&open);
    let state = || controlled.json(&["listeners", "main"])["state"].clone();
    controlled.done(&["set-listener", "main", "--state", "paused"]);
    assert_eq!(state(), "paused");
    wait::until("nobody is accepted", || {
        let client = peer::connect(controlled.proxy.address("main"));
        client.set_nonblocking(false).expect("blocking");
        client
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time");
        matches!(try_exchange(&client), Err(error) if error.kind() == ErrorKind::WouldBlock)
    });
    let waiting = peer::connect(controlled.proxy.address("main"));
    exchange(&open);
    // Neither a reload nor a switch has it accept.
    controlled.done(&["reload"]);
    switch_to_other(&controlled, scheduler);
    waiting
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a time");
    assert!(try_exchange(&waiting).is_err(), "it waits");
    waiting.set_read_timeout(None).expect("a time");
    controlled.done(&["set-listener", "main", "--state", "open"]);
    // It has said it already.
    let mut answer = [0; 10];
    (&waiting)
        .read_exact(&mut answer)
        .expect("its turn has come");
    exchange(&waiting);
    controlled.done(&["set-listener", "main", "--state", "drained"]);
    assert_eq!(state(), "drained");
    wait::until("clients are refused", || {
        TcpStream::connect(&bind).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    exchange(&open);
    controlled.done(&["reload"]);
    // The file's scheduler comes back.
    wait::until("the switch back is over", || {
        let shown = controlled.json(&["schedulers"]);
        shown["running"] == scheduler.name() && shown["switching"] == false
    });
    TcpStream::connect(&bind).expect_err("a reload opens nothing");
    controlled.done(&["set-listener", "main", "--state", "open"]);
    exchange(&peer::connect(controlled.proxy.address("main")));
    exchange(&open);
    drop((open, waiting));
    controlled.proxy.stop();
}

fn one_connection_is_closed_reset_or_moved(scheduler: Scheduler) {
    let server = Echo::start();
    let routes = route("main", "127.0.0.1:0", &[&server.address], "", "");
    let controlled = Controlled::start(scheduler, "", &routes);
    let clients: Vec<_> = (0..4).map(|_| controlled.proxy.connect("main")).collect();
    clients.iter().for_each(exchange);
    let of = |client: &TcpStream| {
        let address = client.local_addr().expect("an address").to_string();
        let found = controlled.json(&["connections", "--client", &address]);
        assert_eq!(found["total"], 1, "{found}");
        found["connections"][0].clone()
    };
    let id = |client| of(client)["id"].to_string();
    controlled.done(&["close", &id(&clients[0])]);
    let closed = (&clients[0]).read(&mut [0]).expect("an orderly end");
    assert_eq!(closed, 0);
    controlled.done(&["reset", &id(&clients[1])]);
    let error = (&clients[1]).read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    wait::until("both are counted", || {
        let cause = [("cause", "by_hand")];
        controlled
            .proxy
            .metric("corelane_listener_ended_total", &cause)
            == 2.0
    });
    exchange(&clients[2]);
    exchange(&clients[3]);
    let core = of(&clients[2])["core"].as_u64().expect("a core");
    let cores = controlled.json(&["schedulers"])["cores"]
        .as_array()
        .map_or(0, Vec::len) as u64;
    let to = (core + 1) % cores;
    let moved = controlled.ctl(&["move", &id(&clients[2]), &to.to_string()]);
    if scheduler == Scheduler::Glommio {
        assert!(moved.status.success(), "{moved:?}");
        wait::until("it is there", || {
            exchange(&clients[2]);
            of(&clients[2])["core"] == to
        });
    } else {
        let why = String::from_utf8_lossy(&moved.stderr).into_owned();
        assert!(!moved.status.success() && why.contains("glommio"), "{why}");
    }
    for words in [
        &["reset", "99999999"][..],
        &["move", &id(&clients[3]), "99"],
    ] {
        assert_eq!(controlled.ctl(words).status.code(), Some(1), "{words:?}");
    }
    clients[2..].iter().for_each(exchange);
    drop(clients);
    controlled.proxy.stop();
}

fn the_scheduler_switches(scheduler: Scheduler) {
    let server = Echo::start();
    let routes = route("main", "127.0.0.1:0", &[&server.address], "", "");
    let controlled = Controlled::start(scheduler, "", &routes);
    let client = controlled.proxy.connect("main");
    exchange(&client);
    let same = controlled.done(&["switch", scheduler.name()]);
    assert!(same.contains("as it was"), "{same}");
    let other = other(scheduler);
    let words = controlled.done(&["switch", other, "--cores", "1"]);
    assert!(
        words.contains(other) && words.contains("1 cores"),
        "{words}"
    );
    wait::until("the switch is over", || {
        controlled.json(&["schedulers"])["switching"] == false
    });
    let shown = controlled.json(&["schedulers"]);
    assert_eq!(
        (&shown["running"], shown["cores"].as_array().map(Vec::len)),
        (&other.into(), Some(1))
    );
    exchange(&client);
    let refused = controlled.ctl(&["switch", "--cores", "9999"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    // The file says what it said.
    controlled.done(&["reload"]);
    wait::until("it is as the file says", || {
        let shown = controlled.json(&["schedulers"]);
        shown["running"] == scheduler.name() && shown["switching"] == false
    });
    exchange(&client);
    drop(client);
    controlled.proxy.stop();
}

fn the_log_says_more_of_a_module(scheduler: Scheduler) {
    let server = Echo::start();
    let routes = route("main", "127.0.0.1:0", &[&server.address], "", "");
    let controlled = Controlled::start(scheduler, "", &routes);
    assert_eq!(controlled.json(&["log"])["level"], "info");
    controlled.done(&["log", "warn", "corelane::reload=info"]);
    let shown = controlled.json(&["log"]);
    assert_eq!(
        (&shown["level"], &shown["modules"]["corelane::reload"]),
        (&"warn".into(), &"info".into())
    );
    controlled.done(&["set-server", "main", &server.address, "--state", "drain"]);
    wait::until("it is logged", || {
        controlled.proxy.log().contains("gets no new connections")
    });
    assert!(
        !controlled
            .proxy
            .log()
            .contains("command=Change(Change { what: Server")
    );
    controlled.done(&["log", "info", "corelane::reload="]);
    assert_eq!(controlled.json(&["log"])["modules"], serde_json::json!({}));
    controlled.done(&["set-server", "main", &server.address, "--state", "ready"]);
    wait::until("all is logged", || {
        controlled
            .proxy
            .log()
            .contains("command=Change(Change { what: Server")
    });
    let wrong = controlled.ctl(&["log", "a b=info"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    controlled.proxy.stop();
}
