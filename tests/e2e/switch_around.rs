//! What stands around a switch: who watches it, what the workers are pinned to, connections that move between cores
//! meanwhile, the poller that Glommio falls back to, files that are watched and included, and a change that has to wait.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::duplex::both_ways;
use crate::harness::browser::Browser;
use crate::harness::bytes::{MIB, send};
use crate::harness::change::{self, shown, switch, switched};
use crate::harness::child::Child;
use crate::harness::config::route;
use crate::harness::peer::{self, Server};
use crate::harness::process::thread_cpus;
use crate::harness::proxy::{self, Proxy};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::strace;
use crate::harness::terminal::Terminal;
use crate::harness::wait::{self, End};

each_scheduler!(
    the_page_and_top_show_the_new_scheduler,
    workers_are_pinned_and_let_go,
    a_file_that_is_included_and_watched_switches,
    the_last_of_several_changes_that_waited_is_in_force,
    connections_that_move_between_cores_follow,
    connections_that_move_need_no_time_to_drain,
    connections_that_another_core_is_to_begin_are_not_lost,
    glommio_over_epoll_gives_and_takes,
);

fn echo(bind: &str) -> String {
    route("main", bind, &["builtin:echo"], "", "")
}

fn text(scheduler: Scheduler, cores: usize, runtime: &str) -> String {
    change::text(scheduler, cores, runtime, &echo("127.0.0.1:0"))
}

fn others(scheduler: Scheduler) -> impl Iterator<Item = Scheduler> {
    let all = Scheduler::ALL.into_iter();
    all.filter(move |to| *to != scheduler && to.usable())
}

fn exchange(mut client: &TcpStream) {
    client.write_all(b"hello").expect("send");
    client.read_exact(&mut [0; 5]).expect("receive");
}

/// Connections that are to end have none, and those that move are not among them. Nor are those that are about to get a server.
fn connections_that_move_need_no_time_to_drain(scheduler: Scheduler) {
    const CLIENTS: usize = 200;
    let text = |scheduler| {
        let listener = "accept_proxy_protocol = true\nprologue_timeout = \"1h\"";
        let routes =
            echo("127.0.0.1:0") + &route("late", "127.0.0.1:0", &["builtin:echo"], listener, "");
        change::text(scheduler, 2, "drain_timeout = \"0s\"\n", &routes)
    };
    let proxy = Proxy::start_file(&text(scheduler));
    let clients: Vec<_> = (0..CLIENTS).map(|_| proxy.connect("main")).collect();
    clients.iter().for_each(exchange);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";
    for to in others(scheduler).chain([scheduler]) {
        let mut late = proxy.connect("late");
        late.write_all(&header[..9]).expect("send");
        wait::until("it is heard", || {
            proxy.metric("corelane_listener_connections", &[("listener", "late")]) == 1.0
        });
        let before = switched(&proxy.metrics());
        change::reload(&proxy, &text(to));
        wait::until("the others have moved", || {
            let on_core =
                ["0", "1"].map(|core| proxy.metric("corelane_core_connections", &[("core", core)]));
            on_core.iter().sum::<f64>() >= CLIENTS as f64
        });
        late.write_all(&header[9..]).expect("send");
        exchange(&late);
        clients.iter().for_each(exchange);
        drop(late);
        wait::until("the switch is over", || switched(&proxy.metrics()) > before);
        wait::until("it has left", || {
            proxy.metric("corelane_listener_connections", &[("listener", "late")]) == 0.0
        });
    }
    assert!(!proxy.log().contains("they are reset"), "{}", proxy.log());
}

/// Where a picture of the page after a switch is kept, if anywhere.
const PICTURE: &str = "CORELANE_SWITCH_PICTURE";

/// What the page and `top` call a scheduler.
fn names(scheduler: Scheduler) -> (&'static str, &'static str) {
    match scheduler {
        Scheduler::Glommio => ("glommio", scheduler.mode()),
        Scheduler::WorkStealing | Scheduler::PerCore => ("tokio", scheduler.mode()),
    }
}

/// Neither is begun again.
fn the_page_and_top_show_the_new_scheduler(scheduler: Scheduler) {
    let proxy = Proxy::start_file(&text(scheduler, 2, ""));
    let client = proxy.connect("main");
    exchange(&client);
    let url = format!("http://{}", proxy.admin());
    let mut terminal = Terminal::open(80, 24);
    let mut top = terminal.begin(|terminal| {
        Child::spawn_on_terminal(proxy::command().args(["top", &url]), terminal, Signal::KILL)
    });
    let mut browser = Browser::open(proxy.directory(), &format!("{url}/"));
    // It is another one where a page is loaded again.
    let begun = "performance.timeOrigin";
    let mut begun_at = None;
    let mut see = |scheduler: Scheduler, cores: usize| {
        let (name, mode) = names(scheduler);
        wait::until("top shows it", || {
            terminal.shows(&format!("{name} ({mode})"))
        });
        let Some(browser) = &mut browser else {
            return;
        };
        let is_shown = format!(
            "document.getElementById('scheduler')?.textContent === '{name}' &&
             document.getElementById('mode').textContent === '{mode}' &&
             document.querySelectorAll('[data-core]').length === {cores}"
        );
        wait::until("the page shows it", || browser.evaluate(&is_shown) == true);
        let begun = browser.evaluate(begun);
        assert_eq!(*begun_at.get_or_insert_with(|| begun.clone()), begun);
    };
    see(scheduler, 2);
    for to in others(scheduler) {
        switch(&proxy, &text(to, 3, ""));
        see(to, 3);
        exchange(&client);
    }
    switch(&proxy, &text(scheduler, 1, ""));
    see(scheduler, 1);
    exchange(&client);
    if let (Some(folder), Some(browser)) = (env::var_os(PICTURE), &mut browser) {
        let name = format!("{}.png", scheduler.name());
        let picture = browser.picture(1280, 1000);
        fs::write(Path::new(&folder).join(name), picture).expect("write");
        let name = format!("{}.txt", scheduler.name());
        fs::write(Path::new(&folder).join(name), terminal.lines().join("\n")).expect("write");
    }
    terminal.press("q");
    assert_eq!(top.wait().code(), Some(0));
    drop(client);
    proxy.stop();
}

/// By the kernel's word.
fn workers_are_pinned_and_let_go(scheduler: Scheduler) {
    let all = thread_cpus(std::process::id(), &own_name());
    let text = |pin: bool| text(scheduler, 2, "").replace("pin = false", &format!("pin = {pin}"));
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return println!("skipped: two workers are pinned to two CPUs");
    }
    let proxy = Proxy::start_file(&text(false));
    let client = proxy.connect("main");
    let workers = || ["corelane-w0", "corelane-w1"].map(|name| thread_cpus(proxy.pid(), name));
    let is_one = |cpus: &String| cpus.parse::<u32>().is_ok();
    for _ in 0..2 {
        assert_eq!(workers(), [all.clone(), all.clone()]);
        exchange(&client);
        switch(&proxy, &text(true));
        let pinned = workers();
        assert!(pinned.iter().all(is_one), "{pinned:?} of {all}");
        assert_ne!(pinned[0], pinned[1]);
        let info = [("pinned", "true")];
        assert_eq!(proxy.metric("corelane_runtime_info", &info), 1.0);
        exchange(&client);
        switch(&proxy, &text(false));
    }
    drop(client);
    proxy.stop();
}

/// The name of the current thread, as the kernel has it.
fn own_name() -> String {
    let name = fs::read_to_string("/proc/thread-self/comm").expect("comm");
    name.trim_end().to_owned()
}

/// The scheduler stands in a file of its own, which is replaced.
fn a_file_that_is_included_and_watched_switches(scheduler: Scheduler) {
    let main = format!(
        "include = [\"runtime.d/*.toml\"]\n[runtime]\npin = false\nwatch = true\n[admin]\n\
         listen = \"127.0.0.1:0\"\n{}",
        echo("127.0.0.1:0")
    );
    let chosen = |scheduler: Scheduler, cores: usize| {
        format!("[runtime]\n{}cores = {cores}\n", scheduler.runtime_toml())
    };
    let proxy = Proxy::start_file(&format!("{main}{}", ""));
    let folder = proxy.directory().join("runtime.d");
    let put = |text: &str| {
        let next = proxy.directory().join("next");
        fs::write(&next, text).expect("write");
        fs::rename(next, folder.join("a.toml")).expect("rename");
    };
    let client = proxy.connect("main");
    exchange(&client);
    fs::create_dir(&folder).expect("a folder");
    for (to, cores) in [(scheduler, 3)]
        .into_iter()
        .chain(others(scheduler).map(|to| (to, 2)))
        .chain([(scheduler, 1)])
    {
        put(&chosen(to, cores));
        wait::until("it is the scheduler of the file", || {
            shown(&proxy.metrics()) == (to, cores)
        });
        exchange(&client);
        exchange(&proxy.connect("main"));
    }
    // One that can't be leaves it at that.
    put("[runtime]\nscheduler = \"none\"\n");
    wait::until("it is refused", || {
        proxy.metric("corelane_config_last_reload_success", &[]) == 0.0
    });
    wait::until("the log says which file", || proxy.log().contains("a.toml"));
    assert_eq!(shown(&proxy.metrics()), (scheduler, 1));
    exchange(&client);
    drop(client);
    proxy.stop();
}

/// While connections finish on the scheduler before, changes wait, but for bad files, which are refused at once; what is read in
/// the end is what the file says then.
fn the_last_of_several_changes_that_waited_is_in_force(scheduler: Scheduler) {
    let drain = "on_switch = \"drain\"\ndrain_timeout = \"60s\"\nwatch = true\n";
    let to = others(scheduler).next().expect("Tokio has two modes");
    let proxy = Proxy::start_file(&text(scheduler, 2, drain));
    let old = proxy.connect("main");
    exchange(&old);
    change::write(&proxy, &text(to, 1, drain));
    wait::until("the new scheduler is shown", || {
        shown(&proxy.metrics()) == (to, 1)
    });
    let new = proxy.connect("main");
    exchange(&new);
    // A bad one, a switch, and one that adds a listener, in the file one after the other.
    change::write(&proxy, "nonsense");
    change::write(&proxy, &text(to, 3, drain));
    let more = route("more", "127.0.0.1:0", &["builtin:echo"], "", "");
    change::write(&proxy, &(text(to, 2, drain) + &more));
    thread::sleep(Duration::from_millis(500));
    let metrics = proxy.metrics();
    assert_eq!(shown(&metrics), (to, 1), "they wait");
    assert_eq!(switched(&metrics), 0.0);
    exchange(&old);
    exchange(&new);
    drop(old);
    wait::until("the last one is begun", || {
        shown(&proxy.metrics()) == (to, 2)
    });
    let listener = [("listener", "more")];
    let metrics = proxy.metrics();
    let mut series = metrics.series("corelane_listener_connections_total", &listener);
    assert!(series.next().is_some(), "{}", proxy.log());
    assert_eq!(metrics.get("corelane_config_last_reload_success", &[]), 1.0);
    exchange(&new);
    drop(new);
    wait::until("both are over", || switched(&proxy.metrics()) == 2.0);
    let moved = "corelane_runtime_moved_connections_total";
    assert_eq!(proxy.metric(moved, &[]), 0.0);
    proxy.stop();
}

/// Heavy flows that move between Glommio's cores, and their bytes, each way.
const FLOWS: usize = 6;
const FLOW_BYTES: u64 = 24 * MIB;

fn connections_that_move_between_cores_follow(scheduler: Scheduler) {
    if !Scheduler::Glommio.usable() {
        return;
    }
    let server = Server::bind();
    let routes = route(
        "main",
        "127.0.0.1:0",
        &[&server.address().to_string()],
        "",
        "",
    );
    let moving = "glommio.rebalance = { interval = \"50ms\", threshold = 0.05 }\n";
    let text = |scheduler, cores| change::text(scheduler, cores, moving, &routes);
    let proxy = Proxy::start_file(&text(Scheduler::Glommio, 2));
    let to = match scheduler {
        Scheduler::Glommio => [(Scheduler::Glommio, 3), (Scheduler::Glommio, 2)],
        other => [(other, 2), (Scheduler::Glommio, 2)],
    };
    let flows: Vec<_> = (0..FLOWS)
        .map(|_| (proxy.connect("main"), server.accept()))
        .collect();
    let left = AtomicU64::new(FLOWS as u64);
    let mut switches = 0.0;
    thread::scope(|scope| {
        for (seed, (client, upstream)) in flows.iter().enumerate() {
            let left = &left;
            scope.spawn(move || {
                both_ways(client, upstream, 2 * seed as u64, |mut stream, seed| {
                    send(&mut stream, seed, FLOW_BYTES)
                });
                left.fetch_sub(1, Relaxed);
            });
        }
        for (scheduler, cores) in to.into_iter().cycle() {
            if left.load(Relaxed) == 0 {
                break;
            }
            switch(&proxy, &text(scheduler, cores));
            switches += 1.0;
        }
    });
    assert!(switches >= 1.0);
    wait::until("every connection has ended", || {
        proxy.metric("corelane_listener_connections", &[]) == 0.0
    });
    let metrics = proxy.metrics();
    for direction in ["in", "out"] {
        let labels = [("direction", direction)];
        let counted = metrics.get("corelane_listener_bytes_total", &labels);
        assert_eq!(counted, (FLOWS as u64 * FLOW_BYTES) as f64, "{direction}");
    }
    let finished = [("cause", "finished")];
    let ended = metrics.get("corelane_listener_ended_total", &finished);
    assert_eq!(ended, FLOWS as f64);
    proxy.stop();
}

/// Clients at a time, and switches.
const COMING: usize = 4;
const SWITCHES: usize = 8;

/// One core accepts, and has another one begin: while that is on its way, the scheduler is not taken for one that has no
/// connection left.
fn connections_that_another_core_is_to_begin_are_not_lost(scheduler: Scheduler) {
    if !Scheduler::Glommio.usable() {
        return;
    }
    let placed = "glommio.placement = \"round-robin\"\n";
    let proxy = Proxy::start_file(&text(Scheduler::Glommio, 3, placed));
    let address = proxy.address("main");
    let over = AtomicBool::new(false);
    let came = AtomicU64::new(0);
    thread::scope(|scope| {
        let _end = End(&over);
        for _ in 0..COMING {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    exchange(&peer::connect(address));
                    came.fetch_add(1, Relaxed);
                }
            });
        }
        for number in 0..SWITCHES {
            let to = match number % 2 {
                0 => (scheduler, 2),
                _ => (Scheduler::Glommio, 3),
            };
            switch(&proxy, &text(to.0, to.1, placed));
        }
    });
    let came = came.into_inner() as f64;
    let finished = [("cause", "finished")];
    wait::until("every end is counted", || {
        proxy.metric("corelane_listener_ended_total", &finished) == came
    });
    assert_eq!(proxy.metric("corelane_listener_ended_total", &[]), came);
    proxy.stop();
}

/// The kernel's io_uring lacks what Glommio's own poller takes: each second ring of the main thread is refused, which is the
/// one that it asks that by.
fn glommio_over_epoll_gives_and_takes(scheduler: Scheduler) {
    if scheduler == Scheduler::Glommio || !scheduler.usable() || !Scheduler::Glommio.usable() {
        return;
    }
    if let Some(why) = strace::refusal() {
        return println!("skipped: {why}");
    }
    let mut command = Command::new("strace");
    // It is beside the proxy, whose process this is, and follows no other thread.
    command.args(["-D", "-o", "/dev/null", "--trace=io_uring_setup"]);
    command.arg("--inject=io_uring_setup:error=EINVAL:when=2+2");
    command.arg(proxy::command().get_program());
    let proxy = Proxy::start_command(command, &text(Scheduler::Glommio, 2, ""));
    let is_epoll = || {
        let poller = [("poller", "epoll")];
        proxy.metric("corelane_glommio_poller_info", &poller) == 1.0
    };
    assert!(is_epoll(), "{}", proxy.metrics().text());
    let idle = proxy.connect("main");
    exchange(&idle);
    let address = proxy.address("main");
    let over = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        let _end = End(&over);
        let busy: Vec<_> = (0..3)
            .map(|seed| {
                let (over, sent) = (&over, &sent);
                scope.spawn(move || {
                    let bytes = crate::switch::stream(address, seed, over);
                    sent.fetch_add(bytes, Relaxed);
                })
            })
            .collect();
        for (to, cores) in [(scheduler, 3), (Scheduler::Glommio, 3)].repeat(2) {
            switch(&proxy, &text(to, cores, ""));
            exchange(&idle);
            exchange(&peer::connect(address));
            assert_eq!(shown(&proxy.metrics()), (to, cores));
            assert_eq!(is_epoll(), to == Scheduler::Glommio);
            assert!(busy.iter().all(|busy| !busy.is_finished()));
        }
    });
    let moved = "corelane_runtime_moved_connections_total";
    assert_eq!(proxy.metric(moved, &[]), 16.0);
    drop(idle);
    proxy.stop();
}
