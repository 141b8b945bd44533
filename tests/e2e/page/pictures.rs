//! Pictures of the page while one core is busier than the other, as README.md shows them.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{ANY, LIVE, open, wait_for};
use crate::harness::config::route;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::wait::{self, DEADLINE, End};

/// The folder that they are kept in. Without it they are taken of what there is after a moment, and not kept.
const FOLDER: &str = "CORELANE_PICTURES";

/// Seconds of history that are waited for: nearly all, or a few.
const HISTORY_KEPT: u32 = 115;
const HISTORY_LEAST: u32 = 3;

/// Name, colours, width and height of each.
const DESKTOP: (&str, &str, u32, u32) = ("page-dark.png", "dark", 1280, 1080);
const PHONE: (&str, &str, u32, u32) = ("page-phone-light.png", "light", 390, 1400);

/// Flows that are all on the first core, and those that are anywhere.
const HEAVY: usize = 6;
const LIGHT: usize = 24;

/// Lines of the listener web.
const CANARY: &str = r#"
[[listeners.web.routes]]
name = "canary"
source = "127.0.0.0/8"
upstreams = { web = 90, next = 10 }
"#;

const CANDIDATES_MAX: usize = 64;

/// Bytes of a message.
const HEAVY_BYTES: usize = 2048;
const LIGHT_BYTES: usize = 128;

#[test]
fn are_taken() {
    let folder = env::var_os(FOLDER).map(PathBuf::from);
    let any = "127.0.0.1:0";
    let echo = thread::spawn(|| {
        leave_the_first_cpu();
        peer::echo()
    });
    let echo = echo.join().expect("a server");
    let dead = peer::refusing().to_string();
    let routes = route("redis", any, &[&echo.address().to_string()], "", "")
        + &route("web", any, &["builtin:echo", &dead], CANARY, "")
        + "[upstreams.next]\nservers = [\"builtin:echo\"]\n";
    let proxy = Proxy::start(ANY, &routes);
    leave_the_first_cpu();
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    let heavy = on_the_first_core(&proxy);
    let light = (0..LIGHT).map(|_| proxy.connect("web"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = End(&over);
        for client in heavy {
            scope.spawn(|| exchange(client, HEAVY_BYTES, Duration::ZERO, &over));
        }
        for client in light {
            scope.spawn(|| exchange(client, LIGHT_BYTES, Duration::from_millis(20), &over));
        }
        let seconds = if folder.is_some() {
            HISTORY_KEPT
        } else {
            HISTORY_LEAST
        };
        let there = format!("history.length >= {seconds}");
        let is_there = || browser.evaluate(&there) == true;
        assert!(wait::holds_within(DEADLINE * 5, is_there), "{there}");
        for (name, colours, width, height) in [DESKTOP, PHONE] {
            browser.prefer(colours);
            if width < height {
                browser.become_phone(width, height);
            } else {
                browser.become_desktop(width, height);
            }
            let filled = "[...document.querySelectorAll('.plot')]
                .every(place => place.querySelector('canvas').width === place.clientWidth)";
            let size = format!("innerWidth === {width} && {filled}");
            wait_for(&mut browser, "the window has its size", &size);
            let picture = browser.picture(width, height);
            assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n");
            let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
            assert_eq!(picture[16..24], size, "{name}");
            if let Some(folder) = &folder {
                fs::write(folder.join(name), picture).expect("a folder that can be written to");
            }
        }
        drop(end);
    });
}

/// What this thread begins from now on leaves it to the first worker.
fn leave_the_first_cpu() {
    let mut cpus = sched_getaffinity(None).expect("affinity");
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| cpus.is_set(cpu));
    if cpus.count() > 1 {
        cpus.unset(first.expect("a CPU"));
        sched_setaffinity(None, &cpus).expect("affinity");
    }
}

fn on_the_first_core(proxy: &Proxy) -> Vec<TcpStream> {
    let on_core = || proxy.metric("corelane_core_accepts_total", &[("core", "0")]);
    let mut found = Vec::new();
    for _ in 0..CANDIDATES_MAX {
        let before = on_core();
        let mut client = proxy.connect("redis");
        client.write_all(b"?").expect("send");
        client.read_exact(&mut [0; 1]).expect("receive");
        if on_core() > before {
            found.push(client);
        }
        if found.len() == HEAVY {
            return found;
        }
    }
    panic!("the kernel's hash puts {HEAVY} of {CANDIDATES_MAX} connections on the first core");
}

fn exchange(mut client: TcpStream, bytes: usize, pause: Duration, over: &AtomicBool) {
    let mut buffer = vec![7; bytes];
    while !over.load(Ordering::Relaxed) {
        client.write_all(&buffer).expect("send");
        client.read_exact(&mut buffer).expect("receive");
        thread::sleep(pause);
    }
}
