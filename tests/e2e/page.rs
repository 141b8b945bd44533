//! The live page, in a real browser.

mod age;
mod changes;
mod connections;
mod look_back;
mod phone;
mod pictures;
mod reconnect;
mod routes;
mod scale;
mod servers;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::browser::Browser;
use crate::harness::config::forward;
use crate::harness::peer;
use crate::harness::port;
use crate::harness::proxy::{Proxy, configuration};
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait::{self, End};

each_scheduler!(shows_the_load, state_is_json, config_is_one);

/// For what is the page's own affair.
const ANY: Scheduler = Scheduler::PerCore;

/// Whether the page has what the proxy pushed.
const LIVE: &str = "document.getElementById('link')?.textContent === 'live'";

/// The colour of the first strip's ticks, as the style writes colours.
const TICKS: &str = "(() => {
    const { ctx, bbox: { left, top, width, height } } = cores[0].chart.plot;
    if (width === 0) return '';
    const { data } = ctx.getImageData(left, top + height + 1, width, 1);
    const opaque = data.findIndex((byte, index) => index % 4 === 3 && byte === 255);
    return `rgb(${data.slice(opaque - 3, opaque).join(', ')})`;
})()";

/// Between two messages of a client: the machine is left for the browser.
const PAUSE: Duration = Duration::from_millis(1);

fn start(scheduler: Scheduler) -> Proxy {
    Proxy::start(scheduler, &forward(&["builtin:echo"]))
}

fn open(proxy: &Proxy) -> Option<Browser> {
    Browser::open(proxy.directory(), &format!("http://{}/", proxy.admin()))
}

fn wait_for(browser: &mut Browser, what: &str, expression: &str) {
    wait::until(what, || browser.evaluate(expression) == true);
}

/// Seconds of which the busiest core's strip shows something.
fn drawn(browser: &mut Browser) -> u64 {
    let seconds = browser.evaluate(
        "Math.max(...cores.map(core => {
            const { ctx, bbox: { left, top, width, height } } = core.chart.plot;
            if (width === 0) return 0;
            const { data } = ctx.getImageData(left, top + height - 1, width, 1);
            const columns = data.filter((byte, index) => index % 4 === 3 && byte).length;
            return Math.round(columns / width * 120);
        }))",
    );
    seconds.as_u64().expect("a count")
}

fn shows_the_load(scheduler: Scheduler) {
    let proxy = start(scheduler);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    let cores = proxy.metrics().series("corelane_core_info", &[]).count();
    let clients: Vec<_> = (0..8).map(|_| proxy.connect("main")).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = End(&over);
        for client in clients {
            let over = &over;
            scope.spawn(move || ping_pong(client, over));
        }
        wait::until("the listener's rate is shown", || {
            let rate = browser.text(
                "document.querySelector('#listeners tr[data-name=main]')?.cells[5].textContent",
            );
            rate.ends_with("B/s") && rate != "0 B/s"
        });
        wait::until(
            "the server's rate is what the listener's are together",
            || {
                let rates = browser.evaluate(
                    "(() => {
                    const [listener, server] = [state.listeners[0], state.servers[0]];
                    const shown = document.querySelector('#servers tbody tr').cells[5].textContent;
                    return {
                        server: server.bytes_in + server.bytes_out,
                        listener: listener.bytes_in + listener.bytes_out,
                        is_shown: shown === `${bytes(server.bytes_in + server.bytes_out)}/s`,
                    };
                })()",
                );
                let rate = |name: &str| rates[name].as_f64().expect("a rate");
                // What is on its way between two readings may be in one of them only.
                rates["is_shown"] == true
                    && rate("server") > 0.0
                    && (rate("server") / rate("listener") - 1.0).abs() < 0.1
            },
        );
        wait::until("each core is shown with its connections", || {
            let details = browser.text(
                "[...document.querySelectorAll('[data-core] .detail')].map(d => d.textContent).join('\\n')",
            );
            let connections = details.lines().map(|detail| {
                let count = detail.split(' ').next();
                count.and_then(|count| count.parse::<usize>().ok())
            });
            // Those that move while they are counted may be counted twice, or not at all.
            connections
                .collect::<Option<Vec<_>>>()
                .is_some_and(|found| found.len() == cores && found.iter().sum::<usize>() > 0)
        });
        wait::until("the history is drawn", || drawn(&mut browser) >= 2);
        let name = match scheduler {
            Scheduler::Glommio => "glommio thread-per-core, pinned",
            Scheduler::WorkStealing => "tokio work-stealing, pinned",
            Scheduler::PerCore => "tokio per-core, pinned",
        };
        assert_eq!(
            browser.text("document.querySelector('.badge').textContent"),
            name
        );
        assert_ne!(
            browser.text("document.querySelector('.finding .what').textContent"),
            ""
        );
        drop(end);
    });
    proxy.stop();
}

/// Runs `look` while a client of the proxy is busy.
fn under_load(proxy: &Proxy, look: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = End(&over);
        let client = proxy.connect("main");
        scope.spawn(|| ping_pong(client, &over));
        look();
        drop(end);
    });
}

fn ping_pong(mut client: TcpStream, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        client.write_all(&[7; 512]).expect("send");
        client.read_exact(&mut [0; 512]).expect("receive");
        thread::sleep(PAUSE);
    }
}

/// Neither by itself nor when something in it wants to.
#[test]
fn asks_nobody_else() {
    let proxy = start(ANY);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    let origin = format!("http://{}/", proxy.admin());
    assert!(browser.asked().contains(&format!("{origin}events")));
    let elsewhere = browser
        .asked()
        .iter()
        .find(|url| !url.starts_with(&origin) && !url.starts_with("data:"));
    assert_eq!(elsewhere, None);

    let other = peer::echo();
    let fetch = format!(
        "fetch('http://{}/').then(() => 'let through', () => 'refused')",
        other.address()
    );
    assert_eq!(browser.text(&fetch), "refused");
    assert_eq!(other.accepted(), 0);
    let inline = "(() => {
        const script = document.createElement('script');
        script.textContent = 'window.ran = true';
        document.body.append(script);
        return window.ran === undefined;
    })()";
    assert_eq!(browser.evaluate(inline), true);
}

/// Whoever gets the page gets uPlot with it, which may be given on only with these words.
#[test]
fn has_the_licence_of_what_it_draws_with() {
    let page = start(ANY).get("/").body;
    let page = String::from_utf8(page).expect("UTF-8");
    let (licence, _) = page.split_once("<style>").expect("a style");
    for words in [
        "The MIT License (MIT)",
        "Copyright (c) 2022 Leon Sorokin",
        "The above copyright notice and this permission notice shall be included in",
        "THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND",
    ] {
        assert!(licence.contains(words), "{words}");
    }
    assert!(page.contains("var uPlot="));
}

/// What nobody sees costs no drawing, and is up to date once somebody does.
#[test]
fn draws_only_what_is_seen() {
    let proxy = start(ANY);
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    // The charts' sizes and the first second may come later.
    let ready = "cores[0].chart.plot.width > 0 && history.length > 0";
    wait_for(&mut browser, "the strips have sizes and a history", ready);
    browser.evaluate(
        "{
            let hidden = true;
            Object.defineProperty(document, 'hidden', { get: () => hidden });
            window.drawn = 0;
            const { clearRect } = CanvasRenderingContext2D.prototype;
            CanvasRenderingContext2D.prototype.clearRect = function (...area) {
                window.drawn += 1;
                clearRect.apply(this, area);
            };
            window.show = () => {
                hidden = false;
                document.dispatchEvent(new Event('visibilitychange'));
            };
            window.before = history.at(-1).number;
        }",
    );
    let later = "history.at(-1).number >= before + 2";
    wait_for(&mut browser, "two seconds have come", later);
    assert_eq!(browser.evaluate("drawn"), 0);
    let all = "cores.length + figures.length";
    browser.evaluate("show()");
    wait_for(
        &mut browser,
        "all is drawn",
        &format!(
            "drawn >= {all} && cores[0].chart.values.at(-1) === history.at(-1).utilization[0]"
        ),
    );
}

/// Colours and order are the reader's choice, by buttons that a keyboard reaches.
#[test]
fn obeys() {
    let proxy = Proxy::start(ANY, &forward(&["127.0.0.1:1", "builtin:echo"]));
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    let ground = "getComputedStyle(document.body).backgroundColor";
    let quiet = "getComputedStyle(document.querySelector('dt')).color";
    let before = (browser.text(ground), browser.text(quiet));
    let ticks_are_quiet = format!("{TICKS} === {quiet}");
    wait_for(&mut browser, "the time's axis is there", &ticks_are_quiet);
    browser.evaluate("document.getElementById('theme').click()");
    assert_ne!(browser.text(ground), before.0);
    assert_ne!(browser.text(quiet), before.1);
    assert_eq!(browser.evaluate(&ticks_are_quiet), true);
    let first = "document.querySelector('#servers tbody tr').cells[1].textContent";
    assert_eq!(browser.text(first), "127.0.0.1:1");
    let press = "document.querySelectorAll('#servers th button')[1].click()";
    let sorted = "document.querySelectorAll('#servers thead th')[1].getAttribute('aria-sort')";
    browser.evaluate(press);
    assert_eq!(browser.text(sorted), "ascending");
    browser.evaluate(press);
    assert_eq!(browser.text(sorted), "descending");
    assert_eq!(browser.text(first), "builtin:echo");
    let unreachable = "[...document.querySelectorAll('button, a, input, summary')]
        .filter(e => e.tabIndex < 0).length";
    assert_eq!(browser.evaluate(unreachable), 0);
}

/// A page that is left open shows the proxy that was restarted.
#[test]
fn comes_back() {
    let port = port::free();
    let configuration = configuration(ANY, "", &forward(&["builtin:echo"])).replace(
        "listen = \"127.0.0.1:0\"",
        &format!("listen = \"127.0.0.1:{port}\""),
    );
    let first = Proxy::start_file(&configuration);
    let Some(mut browser) = open(&first) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    first.terminate();
    let away = "document.getElementById('link').textContent === 'connecting…'";
    wait_for(&mut browser, "the page says that the proxy is away", away);
    // The browser's files are in the first one's directory.
    let second = Proxy::start_file(&configuration);
    let client = second.connect("main");
    wait_for(&mut browser, "the page is live again", LIVE);
    let connections = "document.getElementById('connections').textContent === '1'";
    wait_for(&mut browser, "the new proxy is shown", connections);
    drop((client, first));
}

/// What the page, `corelane top` and scripts read.
fn state_is_json(scheduler: Scheduler) {
    let proxy = start(scheduler);
    let client = proxy.connect("main");
    wait::until("the connection is counted", || {
        let response = proxy.get("/state");
        assert_eq!(response.status, 200);
        let state: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        let listener = &state["listeners"][0];
        assert_eq!(listener["name"], "main");
        assert_eq!(state["servers"][0]["server"], "builtin:echo");
        listener["connections"] == 1 && state["connections"] == 1
    });
    drop(client);
}

/// The proxy runs just as well with what it says it runs.
fn config_is_one(scheduler: Scheduler) {
    let proxy = start(scheduler);
    let response = proxy.get("/config");
    assert_eq!(response.status, 200);
    let config = String::from_utf8(response.body).expect("UTF-8");
    let same = Proxy::start_file(&config);
    assert_eq!(same.get("/config").body, config.into_bytes());
}
