//! Servers that a source names: traffic follows it, connections go on, and what it says wrongly changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::peer::{Server, Service};
use crate::harness::proxy::Proxy;
use crate::harness::scheduler::{Scheduler, each_scheduler};
use crate::harness::wait;
use crate::service::dns::{A, Reply, SERVFAIL, SRV, ScriptedDns};
use crate::service::scripted_http::ScriptedHttp;

each_scheduler!(
    records_of_dns_are_followed,
    a_file_is_followed_however_it_is_replaced,
    a_page_is_followed,
    consul_is_followed_without_polling,
    a_source_changes_by_a_reload_and_over_a_switch,
);

/// A server that says its name, and then sends back what it gets.
pub(crate) fn named(name: u8) -> Service {
    Server::bind().serve(move |mut stream| {
        let _ = stream.write_all(&[name]);
        let mut byte = [0; 1];
        while let Ok(1) = stream.read(&mut byte) {
            let _ = stream.write_all(&byte);
        }
    })
}

fn routes(discovery: &str) -> String {
    format!(
        "[listeners.main]\nbind = \"127.0.0.1:0\"\nupstream = \"main\"\n\
         [upstreams.main.discovery]\n{discovery}\n"
    )
}

/// Connects, and returns which server answers.
pub(crate) fn ask(proxy: &Proxy) -> (TcpStream, Option<u8>) {
    let mut client = proxy.connect("main");
    let mut name = [0; 1];
    let read = client.read(&mut name);
    (client, matches!(read, Ok(1)).then_some(name[0]))
}

/// Returns a connection to the server as soon as connections go there.
pub(crate) fn until(proxy: &Proxy, name: u8) -> TcpStream {
    let mut found = None;
    wait::until(&format!("server {name} is used"), || {
        let (client, answered) = ask(proxy);
        found = Some(client);
        answered == Some(name)
    });
    found.expect("a connection")
}

pub(crate) fn goes_on(mut client: &TcpStream) {
    client.write_all(b"x").expect("it goes on");
    let mut byte = [0; 1];
    client.read_exact(&mut byte).expect("it goes on");
    assert_eq!(&byte, b"x");
}

fn failures(proxy: &Proxy, reason: &str) -> f64 {
    let name = "corelane_discovery_failures_total";
    proxy.metric(name, &[("upstream", "main"), ("reason", reason)])
}

pub(crate) fn until_failed(proxy: &Proxy, reason: &str) {
    wait::until(&format!("the failure {reason} is counted"), || {
        failures(proxy, reason) > 0.0
    });
}

fn shows_servers(proxy: &Proxy, count: usize) {
    let servers = proxy.metric("corelane_discovery_servers", &[("upstream", "main")]);
    assert_eq!(servers, count as f64);
    let name = "corelane_discovery_last_success_timestamp_seconds";
    assert!(proxy.metric(name, &[("upstream", "main")]) > 1e9);
}

fn records_of_dns_are_followed(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let dns = ScriptedDns::start();
    let name = "_web._tcp.example.test";
    let say = |server: &Service| {
        let record = (0, 0, server.address().port(), "host.example.test");
        dns.say(name, SRV, Reply::services(&[record], 1));
    };
    dns.say("host.example.test", A, Reply::addresses(&["127.0.0.1"], 1));
    say(&one);
    let discovery = format!("dns = \"{name}\"\nnameservers = [\"{}\"]", dns.address());
    let proxy = Proxy::start(scheduler, &routes(&discovery));
    let client = until(&proxy, 1);
    say(&two);
    drop(until(&proxy, 2));
    goes_on(&client);
    dns.say(name, SRV, Reply::Code(SERVFAIL));
    until_failed(&proxy, "refused");
    assert_eq!(ask(&proxy).1, Some(2), "the last good set stays");
    shows_servers(&proxy, 1);
    say(&one);
    drop(until(&proxy, 1));
    drop(client);
    proxy.stop();
}

fn a_file_is_followed_however_it_is_replaced(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("servers.json");
    let list = |server: SocketAddr| format!("{{\"servers\": [\"{server}\"]}}");
    // As Kubernetes mounts a ConfigMap.
    let version = |name: &str, text: String| {
        let folder = directory.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("servers.json"), text).expect("write");
        let next = directory.path().join("..next");
        symlink(name, &next).expect("a link");
        fs::rename(next, directory.path().join("..data")).expect("rename");
    };
    version("..1", list(one.address()));
    symlink("..data/servers.json", &path).expect("a link");
    let proxy = Proxy::start(
        scheduler,
        &routes(&format!("file = \"{}\"", path.display())),
    );
    let client = until(&proxy, 1);
    version("..2", list(two.address()));
    drop(until(&proxy, 2));
    goes_on(&client);
    let replace = |text: &str| {
        let next = directory.path().join("next");
        fs::write(&next, text).expect("write");
        fs::rename(next, &path).expect("rename");
    };
    replace("{\"servers\": []}");
    until_failed(&proxy, "empty");
    assert_eq!(ask(&proxy).1, Some(2), "the last good set stays");
    shows_servers(&proxy, 1);
    replace(&list(one.address()));
    drop(until(&proxy, 1));
    drop(client);
    proxy.stop();
}

/// A page that a test writes.
struct Page {
    server: ScriptedHttp,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The text, and which version of it that is.
    text: Mutex<(String, u64)>,
    /// Answers by "not modified".
    unchanged: AtomicUsize,
    /// Queries that waited for a change.
    waited: AtomicUsize,
    hangs: AtomicBool,
}

impl Page {
    fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        let server =
            ScriptedHttp::start(move |head, stream, is_over| its.answer(head, stream, is_over));
        Self { server, shared }
    }

    fn write(&self, text: &str) {
        let mut shown = self.shared.text.lock().expect("no panic");
        *shown = (text.to_owned(), shown.1 + 1);
    }
}

impl Shared {
    fn answer(&self, head: &str, mut stream: TcpStream, is_over: &AtomicBool) {
        while self.hangs.load(SeqCst) && !is_over.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(20));
        }
        let index = head
            .split("index=")
            .nth(1)
            .and_then(|rest| rest.split('&').next());
        let index = index.and_then(|index| index.parse::<u64>().ok());
        if let Some(index) = index {
            self.waited.fetch_add(1, SeqCst);
            while self.text.lock().expect("no panic").1 <= index && !is_over.load(SeqCst) {
                thread::park_timeout(Duration::from_millis(20));
            }
        }
        let (text, version) = self.text.lock().expect("no panic").clone();
        let etag = format!("\"v{version}\"");
        let answer = if head.contains(&format!("if-none-match: {etag}\r\n")) {
            self.unchanged.fetch_add(1, SeqCst);
            format!("HTTP/1.1 304 Not Modified\r\netag: {etag}\r\n\r\n")
        } else {
            let length = text.len();
            format!(
                "HTTP/1.1 200 OK\r\netag: {etag}\r\nx-consul-index: {version}\r\ncontent-length: {length}\r\n\r\n{text}"
            )
        };
        let _ = stream.write_all(answer.as_bytes());
    }
}

fn a_page_is_followed(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let page = Page::start();
    let list = |server: &Service| format!("[\"{}\"]", server.address());
    page.write(&list(&one));
    let discovery = format!(
        "http = \"http://{}/servers\"\ninterval = \"100ms\"",
        page.server.address
    );
    let proxy = Proxy::start(scheduler, &routes(&discovery));
    let client = until(&proxy, 1);
    wait::until("it is unchanged", || page.shared.unchanged.load(SeqCst) > 1);
    page.write(&list(&two));
    drop(until(&proxy, 2));
    goes_on(&client);
    let many: Vec<_> = (0..100_000_u32)
        .map(|n| format!("\"{}:80\"", std::net::Ipv4Addr::from(0x0a00_0001 + n)))
        .collect();
    for (text, reason) in [
        (format!("[{}]", many.join(",")), "too_many"),
        ("[\"127.0.0.1:0\"]".to_owned(), "address"),
        ("<html>".to_owned(), "format"),
    ] {
        page.write(&text);
        until_failed(&proxy, reason);
        assert_eq!(ask(&proxy).1, Some(2), "the last good set stays: {reason}");
    }
    page.shared.hangs.store(true, SeqCst);
    until_failed(&proxy, "timeout");
    assert_eq!(ask(&proxy).1, Some(2), "the last good set stays");
    shows_servers(&proxy, 1);
    page.write(&list(&one));
    page.shared.hangs.store(false, SeqCst);
    drop(until(&proxy, 1));
    drop(client);
    proxy.stop();
}

fn consul_is_followed_without_polling(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let page = Page::start();
    let service = |server: &Service, status: &str| {
        format!(
            "[{{\"Node\": {{\"Address\": \"127.0.0.1\"}}, \"Service\": {{\"Address\": \"\", \"Port\": {}}}, \
             \"Checks\": [{{\"Status\": \"{status}\"}}]}}]",
            server.address().port()
        )
    };
    page.write(&service(&one, "passing"));
    // An interval that the test would not outlive.
    let discovery = format!(
        "http = \"http://{}/v1/health/service/web?passing\"\ninterval = \"1h\"",
        page.server.address
    );
    let proxy = Proxy::start(scheduler, &routes(&discovery));
    let client = until(&proxy, 1);
    wait::until("it waits", || page.shared.waited.load(SeqCst) > 0);
    page.write(&service(&two, "passing"));
    drop(until(&proxy, 2));
    goes_on(&client);
    page.write(&service(&two, "critical"));
    until_failed(&proxy, "empty");
    assert_eq!(ask(&proxy).1, Some(2), "the last good set stays");
    drop(client);
    proxy.stop();
}

fn a_source_changes_by_a_reload_and_over_a_switch(scheduler: Scheduler) {
    let (one, two) = (named(1), named(2));
    let directory = tempfile::tempdir().expect("a directory");
    let list = |name: &str, server: &Service| {
        let path = directory.path().join(name);
        let next = directory.path().join("next");
        fs::write(&next, format!("servers = [\"{}\"]", server.address())).expect("write");
        fs::rename(next, &path).expect("rename");
        format!("file = \"{}\"", path.display())
    };
    let first = routes(&list("first.toml", &one));
    let proxy = Proxy::start(scheduler, &first);
    let client = until(&proxy, 1);
    let second = routes(&list("second.toml", &two));
    proxy.reload(scheduler, &second);
    drop(until(&proxy, 2));
    goes_on(&client);
    // One that is not there keeps what was found before.
    proxy.reload(scheduler, &routes("file = \"/nonexistent/servers.json\""));
    until_failed(&proxy, "not_found");
    assert_eq!(ask(&proxy).1, Some(2), "the last good set stays");
    let other = match scheduler {
        Scheduler::WorkStealing => Scheduler::PerCore,
        _ => Scheduler::WorkStealing,
    };
    proxy.reload(scheduler, &first);
    drop(until(&proxy, 1));
    // It changes while the scheduler does.
    list("first.toml", &two);
    proxy.reload(other, &first);
    drop(until(&proxy, 2));
    list("first.toml", &one);
    drop(until(&proxy, 1));
    goes_on(&client);
    // Without a source, the servers of the file alone.
    let address = two.address();
    proxy.reload(
        other,
        &first
            .replace("[upstreams.main.discovery]\n", "[upstreams.main]\n")
            .replace(
                &format!(
                    "file = \"{}\"",
                    directory.path().join("first.toml").display()
                ),
                &format!("servers = [\"{address}\"]"),
            ),
    );
    wait::until("nobody is asked", || {
        !proxy
            .metrics()
            .text()
            .contains("corelane_discovery_servers{")
    });
    drop(until(&proxy, 2));
    goes_on(&client);
    drop(client);
    proxy.stop();
}
