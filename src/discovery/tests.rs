//! What becomes of what sources say, whichever they are.

mod kubernetes;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use proxy_admin::Discoveries;
use proxy_config::{Config, parse};

use super::found::Found;
use super::scripted::{A, AAAA, NXDOMAIN, Reply, SERVFAIL, SRV, ScriptedDns};
use super::scripted_http::ScriptedHttp;
use super::sources::Sources;
use super::thread::Thread;

/// Longer than anything takes that works.
const DEADLINE: Duration = Duration::from_secs(60);

/// A process reads one file at a time, and one that hangs keeps others from being read meanwhile: who reads any waits here.
fn reader() -> MutexGuard<'static, ()> {
    static READER: Mutex<()> = Mutex::new(());
    READER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..DEADLINE.as_millis() / 5 {
        if condition() {
            return;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    panic!("still waiting: {what}");
}

fn config(discovery: &str) -> Config {
    let text = format!(
        "[listeners.l]\nbind = \"127.0.0.1:18199\"\nupstream = \"u\"\n[upstreams.u.discovery]\ninterval = \"100ms\"\n{discovery}\n"
    );
    parse(&text, "f")
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
}

/// A source that is asked.
struct Asked {
    sources: Sources,
    config: Config,
    shown: Arc<Discoveries>,
    _thread: Thread,
}

impl Asked {
    fn new(discovery: &str) -> Self {
        Self::after(&HashMap::new(), discovery)
    }

    /// In a process that takes over from one that found these.
    fn after(found: &HashMap<String, Vec<Found>>, discovery: &str) -> Self {
        let (config, shown) = (config(discovery), Arc::<Discoveries>::default());
        let mut thread = Thread::default();
        let mut sources = Sources::new(shown.clone());
        sources.go_on_with(found);
        sources.prepare(&config, &thread.handle().expect("a thread"));
        sources.commit(&config);
        Self {
            sources,
            config,
            shown,
            _thread: thread,
        }
    }

    fn servers(&self) -> Vec<String> {
        let complete = self.sources.complete(&self.config);
        let servers = complete.upstreams[0].servers.iter();
        servers.map(|server| server.address.to_string()).collect()
    }

    fn comes_to(&self, server: &str) {
        wait_for(server, || self.servers() == [server]);
    }

    fn failures(&self, reason: &str) -> u64 {
        let shown = self.shown.look();
        let view = shown.iter().find(|(upstream, _)| upstream == "u");
        view.map_or(0, |(_, view)| view.failures[reason])
    }
}

/// Each lie or failure of a source is counted by its reason, and changes nothing; after it, what the source says counts again.
fn keeps_the_last_good_set(
    kind: &str,
    discovery: &str,
    good: &dyn Fn(&str),
    bad: &[(&str, &dyn Fn())],
) {
    let (first, second) = ("10.0.0.1:8080", "10.0.0.2:8080");
    good("10.0.0.1");
    let asked = Asked::new(discovery);
    asked.comes_to(first);
    for (reason, fail) in bad {
        let before = asked.failures(reason);
        fail();
        wait_for(&format!("{kind} fails: {reason}"), || {
            asked.failures(reason) > before
        });
        assert_eq!(asked.servers(), [first], "{kind}: {reason}");
    }
    good("10.0.0.2");
    asked.comes_to(second);
    let shown = asked.shown.look();
    assert_eq!(shown[0].1.servers, 1, "{kind}");
}

/// The lists of JSON that nobody can mean, with the reasons.
fn lies() -> Vec<(&'static str, String)> {
    let many: Vec<_> = (0..100_000_u32)
        .map(|n| format!("\"{}:80\"", std::net::Ipv4Addr::from(0x0a00_0001 + n)))
        .collect();
    vec![
        ("empty", "[]".to_owned()),
        ("too_many", format!("[{}]", many.join(","))),
        ("address", "[\"10.0.0.9:0\"]".to_owned()),
        ("address", "[\"10.0.0.9:80\", \"224.0.0.1:80\"]".to_owned()),
        ("loop", "[\"10.0.0.9:80\", \"127.0.0.1:18199\"]".to_owned()),
        ("format", "[\"10.0.0.9:80\"".to_owned()),
    ]
}

#[test]
fn a_file_that_fails_or_lies_keeps_the_last_good_set() {
    let _reader = reader();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("servers.json");
    let write = |text: &str| {
        let next = directory.path().join("next");
        fs::write(&next, text).expect("write");
        fs::rename(next, &path).expect("rename");
    };
    let lies = lies();
    let lies: Vec<_> = lies
        .iter()
        .map(|(reason, text)| (*reason, || write(text)))
        .collect();
    let mut bad: Vec<(&str, &dyn Fn())> = Vec::new();
    bad.extend(lies.iter().map(|(reason, lie)| (*reason, lie as &dyn Fn())));
    let absent = || fs::remove_file(&path).expect("remove");
    bad.push(("not_found", &absent));
    // Nobody writes to it, and nobody will.
    let hang = || {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a pipe");
    };
    bad.push(("unreachable", &hang));
    keeps_the_last_good_set(
        "file",
        &format!("file = \"{}\"", path.display()),
        &|ip| write(&format!("[\"{ip}:8080\"]")),
        &bad,
    );
}

#[test]
fn what_a_source_named_last_is_good_in_the_process_that_takes_over() {
    let _reader = reader();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("servers.json");
    fs::write(&path, "[\"10.0.0.1:8080\"]").expect("write");
    let discovery = format!("file = \"{}\"", path.display());
    let before = Asked::new(&discovery);
    before.comes_to("10.0.0.1:8080");
    fs::remove_file(&path).expect("remove");
    let after = Asked::after(&before.sources.found(), &discovery);
    wait_for("it fails", || after.failures("not_found") > 0);
    assert_eq!(after.servers(), ["10.0.0.1:8080"]);
    fs::write(&path, "[\"10.0.0.2:8080\"]").expect("write");
    after.comes_to("10.0.0.2:8080");
}

/// A page of a test.
struct Page {
    server: ScriptedHttp,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The status, and the text.
    says: Mutex<(u16, String)>,
    hangs: AtomicBool,
}

impl Page {
    fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        let server = ScriptedHttp::start(move |_, stream, is_over| its.answer(stream, is_over));
        Self { server, shared }
    }

    fn say(&self, status: u16, text: &str) {
        *self.shared.says.lock().expect("no panic") = (status, text.to_owned());
        self.shared.hangs.store(false, SeqCst);
    }

    fn hang(&self) {
        self.shared.hangs.store(true, SeqCst);
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream, is_over: &AtomicBool) {
        while self.hangs.load(SeqCst) && !is_over.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(20));
        }
        let (status, text) = self.says.lock().expect("no panic").clone();
        let length = text.len();
        // An index that goes back has the next query not wait.
        let head = format!(
            "HTTP/1.1 {status} So\r\nx-consul-index: 0\r\ncontent-length: {length}\r\n\r\n{text}"
        );
        let _ = stream.write_all(head.as_bytes());
    }
}

#[test]
fn a_page_that_fails_lies_or_hangs_keeps_the_last_good_set() {
    let page = Page::start();
    let lies = lies();
    let lies: Vec<_> = lies
        .iter()
        .map(|(reason, text)| (*reason, || page.say(200, text)))
        .collect();
    let mut bad: Vec<(&str, &dyn Fn())> = Vec::new();
    bad.extend(lies.iter().map(|(reason, lie)| (*reason, lie as &dyn Fn())));
    let (refuse, absent) = (|| page.say(500, ""), || page.say(404, "[]"));
    let hang = || page.hang();
    bad.extend::<[(&str, &dyn Fn()); 3]>([
        ("refused", &refuse),
        ("not_found", &absent),
        ("timeout", &hang),
    ]);
    keeps_the_last_good_set(
        "http",
        &format!("http = \"http://{}/servers\"", page.server.address),
        &|ip| page.say(200, &format!("[\"{ip}:8080\"]")),
        &bad,
    );
}

#[test]
fn consul_that_fails_lies_or_hangs_keeps_the_last_good_set() {
    let page = Page::start();
    let service = |ip: &str, port: u32| {
        format!(
            "{{\"Node\": {{\"Address\": \"{ip}\"}}, \"Service\": {{\"Address\": \"\", \"Port\": {port}}}}}"
        )
    };
    let say = |services: &[String]| page.say(200, &format!("[{}]", services.join(",")));
    let (empty, poisoned) = (|| say(&[]), || say(&[service("10.0.0.9", 0)]));
    let many = || {
        let ip = |n: u32| std::net::Ipv4Addr::from(0x0a00_0001 + n).to_string();
        say(&(0..50_000).map(|n| service(&ip(n), 80)).collect::<Vec<_>>());
    };
    let (own, half) = (
        || say(&[service("127.0.0.1", 18199)]),
        || page.say(200, "[{\"Node\""),
    );
    let (refuse, hang) = (|| page.say(500, ""), || page.hang());
    keeps_the_last_good_set(
        "consul",
        &format!(
            "http = \"http://{}/v1/health/service/web\"",
            page.server.address
        ),
        &|ip| say(&[service(ip, 8080)]),
        &[
            ("empty", &empty),
            ("address", &poisoned),
            ("too_many", &many),
            ("loop", &own),
            ("format", &half),
            ("refused", &refuse),
            ("timeout", &hang),
        ],
    );
}

#[test]
fn name_servers_that_fail_lie_or_hang_keep_the_last_good_set() {
    let dns = ScriptedDns::start();
    let discovery = |name: &str| format!("dns = \"{name}\"\nnameservers = [\"{}\"]", dns.address());
    let a = |reply: Reply| dns.say("web.test", A, reply);
    let many: Vec<_> = (0..2000_u16)
        .map(|n| [10, 1, (n >> 8) as u8, n as u8].to_vec())
        .collect();
    let many = || a(Reply::Truncated(1, many.clone()));
    let poisoned = || a(Reply::addresses(&["0.0.0.0"], 1));
    let (absent, refuse) = (
        || a(Reply::Code(NXDOMAIN)),
        || {
            a(Reply::Code(SERVFAIL));
            dns.say("web.test", AAAA, Reply::Code(SERVFAIL));
        },
    );
    let hang = || {
        a(Reply::Silence);
        dns.say("web.test", AAAA, Reply::Silence);
    };
    keeps_the_last_good_set(
        "addresses",
        &discovery("web.test:8080"),
        &|ip| {
            dns.say("web.test", AAAA, Reply::Code(0));
            a(Reply::addresses(&[ip], 1));
        },
        &[
            ("too_many", &many),
            ("address", &poisoned),
            ("not_found", &absent),
            ("refused", &refuse),
            ("timeout", &hang),
        ],
    );
    const NAME: &str = "_web._tcp.test";
    let srv = |port, target| dns.say(NAME, SRV, Reply::services(&[(0, 0, port, target)], 1));
    dns.say("loop.test", A, Reply::addresses(&["127.0.0.1"], 1));
    let (poisoned, own) = (|| srv(0, "own.test"), || srv(18199, "loop.test"));
    let empty = || dns.say(NAME, SRV, Reply::Code(0));
    let many = || {
        let records: Vec<_> = (1..=1025).map(|port| (0, 0, port, "own.test")).collect();
        // Too long for UDP.
        if let Reply::Records(ttl, records) = Reply::services(&records, 1) {
            dns.say(NAME, SRV, Reply::Truncated(ttl, records));
        }
    };
    keeps_the_last_good_set(
        "services",
        &discovery(NAME),
        &|ip| {
            dns.say("own.test", A, Reply::addresses(&[ip], 1));
            srv(8080, "own.test");
        },
        &[
            ("address", &poisoned),
            ("loop", &own),
            ("empty", &empty),
            ("too_many", &many),
        ],
    );
}
