//! Dashboards and rules: every query of them, in a real Prometheus that scrapes corelanes under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::admin::lint;
use crate::harness::bytes::MIB;
use crate::harness::config::route;
use crate::harness::metrics::Metrics;
use crate::harness::peer;
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::Scheduler;
use crate::harness::wait;
use crate::service::prometheus::{Prometheus, folder, promtool};

/// What Grafana puts in the place of its variables when all is chosen; the window suits a scrape every other second.
const VARIABLES: &[(&str, &str)] = &[
    ("$__rate_interval", "20s"),
    ("$job", ".+"),
    ("$instance", ".+"),
    ("$upstream", ".+"),
    ("$listener", ".+"),
];

/// Panels of families that are in some builds only, with the family: where no page has it, the panel is empty.
const UNSTABLE: &[(&str, &str)] = &[("Steals (tokio)", "corelane_tokio_steal_total")];

/// So often that every window has checks.
const HEALTH: &str = "retry_budget = \"20%\"\n[upstreams.bulk.health]\ninterval = \"500ms\"\ntimeout = \"10s\"\n[upstreams.bulk.ejection]\n";

/// Connections of a server that is down end.
const ENDING: &str =
    "on_down = \"close\"\n[upstreams.ending.health]\ninterval = \"500ms\"\ntimeout = \"10s\"\n";

/// Between two reloads. The dashboards mark a reload only if it is not of the start.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// Between two rounds of each client of the load, which need not be heavy.
const PAUSE: Duration = Duration::from_millis(10);

#[test]
fn promtool_accepts_rules_and_configuration() {
    let rules = ["rules/recording.yaml", "rules/alerts.yaml"];
    promtool(&[&["check", "rules"], &rules[..]].concat());
    promtool(&["check", "config", "prometheus.yml"]);
}

/// For each alert a load that fires it, and one that must not.
#[test]
fn rules_pass_their_tests() {
    let alerts = fs::read_to_string(folder().join("rules/alerts.yaml")).expect("alerts");
    let mut tests = String::new();
    for entry in fs::read_dir(folder().join("rules/tests")).expect("tests") {
        let file = entry.expect("entry").path();
        tests += &fs::read_to_string(&file).expect("read");
        promtool(&["test", "rules", file.to_str().expect("UTF-8")]);
    }
    for alert in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        for what in ["fires", "is quiet"] {
            let name = format!("- name: {alert} {what} ");
            assert!(tests.contains(&name), "no test says that {alert} {what}");
        }
    }
}

/// Each alert says where its section of the runbook is, by a path within the repository after the address of a copy, and the
/// section is there. What comes of it is in `rules/tests/runbook.yaml`.
#[test]
fn every_alert_has_its_section_of_the_runbook() {
    let alerts = fs::read_to_string(folder().join("rules/alerts.yaml")).expect("alerts");
    let runbook = fs::read_to_string(folder().join("../docs/runbook.md")).expect("runbook");
    let values = |key: &'static str| {
        let lines = alerts.lines();
        lines.filter_map(move |line| line.trim().strip_prefix(key))
    };
    let names: Vec<_> = values("- alert: ").collect();
    let links: Vec<_> = values("runbook_url: ").collect();
    const COPY: &str = "{{ with $externalLabels.corelane_docs }}{{ . }}/{{ end }}";
    let wanted = |name: &&str| format!("'{COPY}docs/runbook.md#{}'", name.to_lowercase());
    assert_eq!(links, names.iter().map(wanted).collect::<Vec<_>>());
    let sections: BTreeMap<_, _> = runbook
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').expect("a heading"))
        .collect();
    assert_eq!(
        sections.keys().copied().collect::<BTreeSet<_>>(),
        names.iter().copied().collect::<BTreeSet<_>>()
    );
    for (name, section) in sections {
        for part in ["**Means:** ", "**Look at:** ", "**Do:** "] {
            assert!(section.contains(part), "{name} has no {part:?}");
        }
    }
}

#[test]
fn every_query_has_an_answer() {
    if !Scheduler::Glommio.usable() {
        return;
    }
    let schedulers = [
        Scheduler::Glommio,
        Scheduler::WorkStealing,
        Scheduler::PerCore,
    ];
    let (echo, dead) = (peer::echo(), peer::refusing());
    let directory = tempfile::tempdir().expect("directory");
    let list = directory.path().join("deny.txt");
    fs::write(&list, "192.0.2.0/24\n").expect("write");
    let found = directory.path().join("servers.json");
    fs::write(&found, format!("[\"{}\"]", echo.address())).expect("write");
    let files = [&list, &found].map(|path| path.to_str().expect("UTF-8"));
    let routes = routes(&echo.address().to_string(), &dead.to_string(), files);
    let proxies = schedulers.map(|scheduler| Proxy::start(scheduler, &routes));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The load ends when this does, also by a panic.
        let _end = wait::End(&over);
        for proxy in &proxies {
            scope.spawn(|| ping_pong(proxy, &over));
            scope.spawn(|| short(proxy, &over));
            scope.spawn(|| bulk(proxy, &over));
            scope.spawn(|| reloads(proxy, &over));
        }
        let targets = [0, 1, 2].map(|index| proxies[index].admin());
        let prometheus = Prometheus::start(&targets);
        let pages = proxies.each_ref().map(Proxy::metrics);
        panels(&prometheus, &pages);
        rules(&prometheus);
        // Some are there only since something has happened.
        names(&prometheus, &proxies.each_ref().map(Proxy::metrics));
        proxies
            .iter()
            .for_each(|proxy| lint(proxy.metrics().text()));
    });
}

/// One server of the first upstream is dead, so that connects fail and are tried again; the second listener has room for
/// one client, so that others are rejected, and a route and a list that nobody falls under; of another upstream a server is down by
/// its checks, whose connections are to end; the last upstream is checked, and a file has its servers, too.
fn routes(echo: &str, dead: &str, [list, found]: [&str; 2]) -> String {
    let any = "127.0.0.1:0";
    let limited = format!(
        "max_connections = 1\ndeny = \"file:{list}\"\n[[listeners.limited.routes]]\nsource = \"198.51.100.0/24\"\nreject = true"
    );
    route("main", any, &[dead, echo], "", "")
        + &route(
            "announced",
            any,
            &["builtin:echo"],
            "accept_proxy_protocol = true",
            "",
        )
        + &route("limited", any, &["builtin:echo"], &limited, "")
        + &route("queued", any, &[echo], "", "max_connections = 1\nqueue = 9")
        + &route("ending", any, &[dead, echo], "", ENDING)
        + &route("bulk", any, &[echo], "", HEALTH)
        + &format!("[upstreams.bulk.discovery]\nfile = \"{found}\"\n")
}

fn panels(prometheus: &Prometheus, pages: &[Metrics]) {
    let of_board = |board| [board_queries(board), annotation_queries(board)].concat();
    let mut queries: Vec<_> = boards().iter().flat_map(of_board).collect();
    for (title, family) in UNSTABLE {
        let of = |(other, query): &(String, String)| other == title && query.contains(family);
        assert!(queries.iter().any(of), "no panel {title} of {family}");
        queries.retain(|query| !of(query) || is_shown(family, pages));
    }
    assert!(queries.len() > 50, "only {} queries", queries.len());
    let queries = queries.into_iter().map(|(title, query)| {
        let fill = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
        let query = VARIABLES.iter().fold(query, fill);
        assert!(!query.contains('$'), "{title}: a variable is left: {query}");
        (title, query)
    });
    answered(prometheus, queries.collect());
}

fn boards() -> Vec<Value> {
    let files = fs::read_dir(folder().join("grafana/dashboards")).expect("dashboards");
    let read = |file: PathBuf| fs::read_to_string(file).expect("read");
    let texts = files.map(|entry| read(entry.expect("entry").path()));
    texts
        .map(|text| serde_json::from_str(&text).expect("JSON"))
        .collect()
}

/// Titles and queries of the panels, those in collapsed rows included.
fn board_queries(board: &Value) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("an expression");
            queries.push((title.to_owned(), query.to_owned()));
        }
        queries.extend(board_queries(panel));
    }
    queries
}

/// Names and queries of what marks moments on all graphs.
fn annotation_queries(board: &Value) -> Vec<(String, String)> {
    let annotations = board["annotations"]["list"].as_array().expect("a list");
    assert_eq!(annotations.len(), 2, "{}", board["uid"]);
    let text = |annotation: &Value, key: &str| annotation[key].as_str().expect("text").to_owned();
    annotations
        .iter()
        .map(|annotation| (text(annotation, "name"), text(annotation, "expr")))
        .collect()
}

fn rules(prometheus: &Prometheus) {
    let rules = prometheus.rules();
    let mut queries = Vec::new();
    for rule in &rules {
        let text = |key: &str| rule[key].as_str().expect("text").to_owned();
        let query = match rule["type"].as_str() {
            Some("recording") => text("name"),
            // With "bool" a comparison answers 0 or 1, where without it says nothing when it doesn't hold.
            _ => [" > ", " < ", " == "]
                .iter()
                .fold(text("query"), |query, comparison| {
                    query.replace(comparison, &format!("{comparison}bool "))
                }),
        };
        queries.push((text("name"), query));
    }
    assert!(queries.len() > 20, "only {} rules", queries.len());
    answered(prometheus, queries);
    wait::until("every rule is in order", || {
        prometheus.rules().iter().all(|rule| {
            assert_ne!(rule["health"], "err", "{rule}");
            rule["health"] == "ok"
        })
    });
    // Those that this load calls for wait for their time to come, and no others of these.
    let pending = |alert: &str| {
        let alerts = prometheus.query(&format!("ALERTS{{alertname=\"{alert}\"}}"));
        alerts.expect("a query").len()
    };
    wait::until("a dead server is noticed by each", || {
        // In two upstreams.
        pending("CorelaneServerDown") == 6
    });
    wait::until("rejections are noticed on each", || {
        pending("CorelaneRejecting") == 3
    });
    // A scrape may have come too late.
    wait::until("all answer", || pending("CorelaneDown") == 0);
    for alert in ["CorelanePoolDown", "CorelaneReloadFailed"] {
        assert_eq!(pending(alert), 0, "{alert}");
    }
}

/// Each of the queries, by title, answers with numbers before long.
fn answered(prometheus: &Prometheus, mut left: Vec<(String, String)>) {
    let mut answers = Vec::new();
    let all = wait::holds_within(wait::DEADLINE, || {
        answers.clear();
        left.retain(|(title, query)| match prometheus.query(query) {
            Err(error) => panic!("{title}: {error}\n{query}"),
            Ok(series)
                if !series.is_empty() && series.iter().all(|(_, value)| value.is_finite()) =>
            {
                false
            }
            Ok(series) => {
                answers.push(format!("{title}: {query}\n{series:?}"));
                true
            }
        });
        left.is_empty()
    });
    assert!(all, "empty, or no number:\n{}", answers.join("\n\n"));
}

/// Every metric that a query names is on a page of /metrics, except those of other builds.
fn names(prometheus: &Prometheus, pages: &[Metrics]) {
    let mut queries = String::new();
    for board in boards() {
        for (_, query) in [board_queries(&board), annotation_queries(&board)].concat() {
            queries += &query;
            queries.push('\n');
        }
        for variable in board["templating"]["list"].as_array().expect("variables") {
            queries += variable["query"].as_str().expect("text");
            queries.push('\n');
        }
    }
    for rule in prometheus.rules() {
        queries += rule["query"].as_str().expect("text");
        queries.push('\n');
    }
    let words = queries.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    let metric = |word: &&str| word.starts_with("corelane_") || word.starts_with("process_");
    let names: BTreeSet<_> = words.filter(metric).collect();
    assert!(names.len() > 40, "only {names:?}");
    for name in names {
        let excepted = UNSTABLE.iter().any(|(_, family)| *family == name);
        assert!(excepted || is_shown(name, pages), "{name} is on no page");
    }
}

fn is_shown(name: &str, pages: &[Metrics]) -> bool {
    let shows = |page: &Metrics| page.series(name, &[]).next().is_some();
    pages.iter().any(shows)
}

/// Small messages on connections that stay.
fn ping_pong(proxy: &Proxy, over: &AtomicBool) {
    let mut clients: Vec<_> = (0..8).map(|_| proxy.connect("main")).collect();
    while !over.load(Ordering::Relaxed) {
        for client in &mut clients {
            exchange(client);
        }
        thread::sleep(PAUSE);
    }
}

/// Connections that come and go, and some that are rejected.
fn short(proxy: &Proxy, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        // One of the two finds room.
        let mut limited = [proxy.connect("limited"), proxy.connect("limited")];
        let served = limited
            .each_mut()
            .map(|client| try_exchange(client).is_ok());
        assert!(served != [true; 2], "both are served");
        exchange(&mut proxy.connect("main"));
        exchange(&mut proxy.connect("ending"));
        let mut first = proxy.connect("queued");
        exchange(&mut first);
        let mut second = proxy.connect("queued");
        // It waits for the first one's place.
        thread::sleep(PAUSE);
        drop(first);
        exchange(&mut second);
        let mut announced = proxy.connect("announced");
        announced
            .write_all(b"PROXY UNKNOWN\r\n")
            .expect("send a header");
        exchange(&mut announced);
        thread::sleep(PAUSE);
    }
}

/// Long transfers.
fn bulk(proxy: &Proxy, over: &AtomicBool) {
    let size = 4 * MIB as usize;
    while !over.load(Ordering::Relaxed) {
        let client = proxy.connect("bulk");
        thread::scope(|scope| {
            scope.spawn(|| (&client).write_all(&vec![1; size]).expect("send"));
            (&client).read_exact(&mut vec![0; size]).expect("receive");
        });
        thread::sleep(PAUSE * 20);
    }
}

/// The same configuration, read again and again.
fn reloads(proxy: &Proxy, over: &AtomicBool) {
    let mut pauses = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(PAUSE);
        pauses += 1;
        if PAUSE * pauses >= RELOAD_PAUSE {
            proxy.signal(Signal::HUP);
            pauses = 0;
        }
    }
}

fn exchange(client: &mut TcpStream) {
    try_exchange(client).expect("an answer");
}

fn try_exchange(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(&[1; 64])?;
    client.read_exact(&mut [0; 64])
}
