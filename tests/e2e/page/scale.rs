//! A proxy with many cores, servers and connections, at the sizes of a phone, a laptop and a large screen.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use super::{LIVE, wait_for};
use crate::harness::browser::Browser;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::wait;

const CORES: usize = 64;
const UPSTREAMS: usize = 10;
const SERVERS: usize = 110;
/// Servers that the page is sent.
const LISTED: usize = 1024;
/// Servers that are not up, of an upstream that is not opened.
const CLOSED: usize = 12;
/// More than a page of the table has.
const CONNECTIONS: usize = 520;

/// As `CORELANE_PICTURES` of the other pictures: the folder that these are kept in.
const FOLDER: &str = "CORELANE_PICTURES";

/// Name, width and height.
const SIZES: [(&str, u32, u32); 3] = [
    ("scale-390.png", 390, 1600),
    ("scale-1280.png", 1280, 1600),
    ("scale-2560.png", 2560, 1440),
];

fn count(selector: &str) -> String {
    format!("document.querySelectorAll('{selector}').length")
}

/// Text in the element with an id.
fn said(id: &str) -> String {
    format!("document.getElementById('{id}').textContent")
}

/// What the line above an upstream's servers says.
fn group(upstream: &str) -> String {
    format!(
        "([...document.querySelectorAll('#servers tr.group')].find(line => line.querySelector('button').textContent === '{upstream}')
            ?.querySelector('span').textContent ?? '')"
    )
}

fn configuration(echo: &str) -> String {
    let mut text = format!(
        "[runtime]\nscheduler = \"tokio\"\ncores = {CORES}\npin = false\n[runtime.tokio]\nmode = \"per-core\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"u0\"\nmax_connections = 1000\n"
    );
    for upstream in 0..UPSTREAMS {
        // The first server of the first one is there. The others are never asked, as it is the first that is not full.
        let name = |server: usize| match (upstream, server) {
            (0, 0) => echo.to_owned(),
            _ => format!("127.{upstream}.{}.1:9", server + 1),
        };
        let servers: Vec<_> = (0..SERVERS)
            .map(|server| format!("{:?}", name(server)))
            .collect();
        let _ = writeln!(
            text,
            "[upstreams.u{upstream}]\nbalance = \"first\"\nservers = [{}]",
            servers.join(", ")
        );
    }
    // Nobody answers its checks.
    text + "[upstreams.u9.health]\ninterval = \"1s\"\nrise = 1\nfall = 1\n"
}

fn open_all(proxy: &Proxy) -> Vec<TcpStream> {
    (0..CONNECTIONS).map(|_| proxy.connect("main")).collect()
}

#[test]
fn many_cores_servers_and_connections_are_shown() {
    let echo = peer::echo();
    let proxy = Proxy::start_file(&configuration(&echo.address().to_string()));
    let url = format!("http://{}/", proxy.admin());
    let Some(mut browser) = Browser::open(proxy.directory(), &url) else {
        return;
    };
    wait_for(&mut browser, "the page is live", LIVE);
    let _open = open_all(&proxy);

    // Cores: one map of all, and a tile for each.
    wait_for(
        &mut browser,
        "a tile for each core",
        &format!("{} === {CORES}", count("#core-list.many .core")),
    );
    wait_for(
        &mut browser,
        "the map is drawn",
        "(() => {
            const canvas = document.querySelector('#heat canvas');
            if (!canvas.width || !canvas.height) return false;
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return data.some(byte => byte > 0);
        })()",
    );
    browser.evaluate("document.getElementById('core-list').focus()");
    browser.press("ArrowLeft");
    assert!(browser.text(&said("looked-at")).contains("the busiest"));
    browser.press("Escape");
    // What is where, when, and in which colour.
    assert_eq!(browser.text("heat.rows.textContent"), "core 016324763");
    assert_eq!(
        browser.text("heat.axis.textContent"),
        "90 s ago1 min ago30 s agonow"
    );
    assert!(browser.text(&said("heat-legend")).contains("from 60"));

    // Servers: by upstream, what is down first, and of the others only a line.
    let groups = count("#servers tr.group");
    wait_for(
        &mut browser,
        "a line for each upstream",
        &format!("{groups} === {UPSTREAMS}"),
    );
    wait_for(
        &mut browser,
        "the one with trouble is the first",
        "document.querySelector('#servers tr.group button').textContent === 'u9'",
    );
    let rows = count("#servers tbody tr:not(.group)");
    wait_for(
        &mut browser,
        "some of what is down is shown",
        &format!("{rows} === {CLOSED}"),
    );
    // Each line has the sums of all servers, also those that are not sent.
    let left_out = UPSTREAMS * SERVERS - LISTED;
    for (upstream, words) in [
        ("u9", format!("0 of {SERVERS} up · 0 connections")),
        (
            "u0",
            format!("{SERVERS} of {SERVERS} up · {CONNECTIONS} connections"),
        ),
        (
            "u8",
            format!(
                "{} of {SERVERS} listed · {SERVERS} of {SERVERS} up",
                SERVERS - left_out
            ),
        ),
    ] {
        let starts = format!("{}.startsWith('{words}')", group(upstream));
        wait_for(&mut browser, &words, &starts);
    }
    assert_eq!(
        browser.text(&said("left-out")),
        "· 1,024 of 1,100 servers are listed: what is down first, then the busiest"
    );
    let upstream_is_hidden = "document.querySelector('#servers thead th').hidden";
    assert_eq!(
        browser.evaluate(upstream_is_hidden),
        true,
        "the lines above say it"
    );
    browser.evaluate("[...document.querySelectorAll('#servers tr.group button')].find(one => one.textContent === 'u0').click()");
    wait_for(
        &mut browser,
        "an upstream is opened",
        &format!("{rows} === {}", CLOSED + SERVERS),
    );
    browser.evaluate("document.getElementById('server-filter').focus()");
    browser.write("u0 127.0.7.");
    wait_for(&mut browser, "one is found", &format!("{rows} === 1"));
    assert_eq!(
        browser.text(&said("servers-shown")),
        "1 of 1,024 that are listed"
    );
    let words =
        format!("1 of {SERVERS} match · {SERVERS} of {SERVERS} up · {CONNECTIONS} connections");
    assert!(browser.text(&group("u0")).starts_with(&words));
    assert_eq!(browser.evaluate(&groups), 1);

    // Connections: by pages, and looked for among all.
    wait_for(
        &mut browser,
        "two pages",
        &format!("{} === 'page 1 of 2'", said("page-at")),
    );
    let by_bytes = "pages are by bytes; what is chosen orders each page in itself";
    assert_eq!(browser.text(&said("page-order")), by_bytes);
    let sort_by_age = "[...document.querySelectorAll('#connection-table thead button')].find(one => one.textContent === 'age').click()";
    browser.evaluate(sort_by_age);
    let answer = proxy.get("/connections?limit=1&sort=age");
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let client = |answer: &serde_json::Value| {
        let client = answer["connections"][0]["client"].as_str();
        client.expect("a client").to_owned()
    };
    let is_first = |client: &str| {
        format!(
            "document.querySelector('#connection-table tbody tr').cells[0].textContent === '{client}'"
        )
    };
    wait_for(
        &mut browser,
        "the oldest of all is the first",
        &is_first(&client(&answer)),
    );
    wait::until("the proxy is asked for them", || {
        browser.asked().iter().any(|url| url.contains("sort=age"))
    });
    assert_eq!(browser.text(&said("page-order")), "");
    browser.evaluate(sort_by_age);
    let answer = proxy.get("/connections?limit=1&sort=age&order=ascending");
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    wait_for(
        &mut browser,
        "the youngest of all is the first",
        &is_first(&client(&answer)),
    );
    browser.evaluate(sort_by_age);
    browser.evaluate("document.getElementById('page-after').click()");
    let shown = count("#connection-table tbody tr");
    wait_for(
        &mut browser,
        "the second page",
        &format!("{shown} === {}", CONNECTIONS - 500),
    );
    browser.evaluate("document.getElementById('filter').focus()");
    browser.write("core 63");
    let on_last = || proxy.metric("corelane_core_connections", &[("core", "63")]);
    wait::until("those of a core are found", || {
        let wanted = format!("{} of {CONNECTIONS}", on_last());
        browser.text(&said("shown")) == wanted
    });

    // Names, limits and the hour.
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    assert_eq!(browser.text(&said("host")), host);
    let listener = "document.querySelector('#listeners tbody tr').textContent";
    wait_for(
        &mut browser,
        "the part of a limit",
        &format!("{listener}.includes('520 of 1,000, 52')"),
    );
    browser.evaluate("document.getElementById('span').click()");
    assert_eq!(browser.evaluate("step"), 30);
    assert!(
        browser
            .text("document.querySelector('.reach').textContent")
            .starts_with("hour")
    );
    browser.evaluate("document.getElementById('span').click()");

    browser.evaluate("document.getElementById('server-filter').value = ''; showServers()");
    browser.evaluate("document.activeElement.blur()");
    for (name, width, height) in SIZES {
        if width < 1000 {
            browser.become_phone(width, height);
        } else {
            browser.become_desktop(width, height);
        }
        wait_for(
            &mut browser,
            "the window has its size",
            &format!("innerWidth === {width}"),
        );
        // Nothing but tables, which scroll, is wider than the window.
        assert_eq!(
            browser.evaluate("document.documentElement.scrollWidth <= innerWidth"),
            true,
            "{width}"
        );
        let picture = browser.picture(width, height);
        if let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) {
            fs::write(folder.join(name), picture).expect("a folder that can be written to");
        }
    }
}
