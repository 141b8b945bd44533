//! Servers: who waits for them, how long their checks take, and what becomes of their connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::{ANY, LIVE, open, wait_for};
use crate::harness::config::route;
use crate::harness::peer;
use crate::harness::proxy::Proxy;

const PHONE: (u32, u32) = (390, 844);
const DESKTOP: (u32, u32) = (1280, 900);

/// The cells of an upstream's first row, by their titles.
fn cell(upstream: &str, title: &str) -> String {
    format!(
        "(() => {{
            const heads = [...document.querySelectorAll('#servers thead th')].map(head => head.textContent);
            const rows = [...document.querySelectorAll('#servers tbody tr')];
            const row = rows.find(row => row.cells[0].textContent === '{upstream}');
            const cell = row?.cells[heads.indexOf('{title}')];
            return cell && !cell.hidden ? cell.textContent : '';
        }})()"
    )
}

/// Answers, and then stops listening, while its connection goes on.
fn leaving() -> (String, thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let accepted = thread::spawn(move || {
        // Checks say nothing.
        loop {
            let (mut stream, _) = listener.accept().expect("accept");
            if stream.read(&mut [0; 1]).is_ok_and(|count| count == 1) {
                return stream;
            }
        }
    });
    (address, accepted)
}

#[test]
fn have_their_queue_their_checks_and_the_fate_of_their_connections() {
    let (gone, accepted) = leaving();
    let echo = peer::echo();
    let checks = "interval = \"100ms\"\nrise = 1\nfall = 1\n";
    let fate =
        format!("on_down = \"close\"\nclose_over = \"1h\"\n[upstreams.ending.health]\n{checks}");
    let queue = format!(
        "max_connections = 1\nqueue = 9\nqueue_timeout = \"1h\"\n[upstreams.queued.health]\n{checks}"
    );
    let any = "127.0.0.1:0";
    let routes = route("ending", any, &[&gone], "", &fate)
        + &route("queued", any, &[&echo.address().to_string()], "", &queue);
    let proxy = Proxy::start(ANY, &routes);
    let mut served = proxy.connect("ending");
    served.write_all(&[1]).expect("send");
    let stream = accepted.join().expect("it is accepted");
    let waiting = [(); 3].map(|()| proxy.connect("queued"));
    let Some(mut browser) = open(&proxy) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    for (what, upstream, title, pattern) in [
        ("two wait", "queued", "queue", "^2, for \\d+ "),
        (
            "checks take a moment",
            "queued",
            "check took",
            "^\\d+(\\.\\d)? m?s$",
        ),
        ("its checks fail", "ending", "state", "^down$"),
        ("with the reason", "ending", "why", "refused"),
        ("since when", "ending", "since", "^for \\d+ "),
        (
            "its connections end",
            "ending",
            "its connections",
            "^closed by on_down, (5\\d min|1 h)",
        ),
    ] {
        let shown = format!("/{pattern}/.test({})", cell(upstream, title));
        wait_for(&mut browser, what, &shown);
    }
    let (width, height) = DESKTOP;
    browser.become_desktop(width, height);
    let is_whole = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.evaluate(is_whole), true);
    browser.become_phone(PHONE.0, PHONE.1);
    let widths = "[innerWidth, document.documentElement.scrollWidth]";
    assert_eq!(
        browser.evaluate(widths),
        serde_json::json!([PHONE.0, PHONE.0])
    );
    drop((waiting, served, stream));
}
