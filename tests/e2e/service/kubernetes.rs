//! An API server of Kubernetes with a script: EndpointSlices of a service, by lists and watches, as `discovery.k8s.io/v1` has them.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::scripted_http::ScriptedHttp;

/// What of a service is asked for.
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices\
    ?labelSelector=kubernetes.io%2Fservice-name%3Dweb";

/// The server. It ends when this is dropped.
pub(crate) struct ScriptedKubernetes {
    server: ScriptedHttp,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    /// Answers to lists and to watches.
    lists: AtomicUsize,
    watches: AtomicUsize,
}

#[derive(Default)]
struct Script {
    /// By name.
    slices: BTreeMap<String, String>,
    version: u64,
    /// What has happened at each version since [`Script::kept`].
    events: Vec<(u64, String)>,
    /// The version from which on a watch may begin.
    kept: u64,
    token: Option<String>,
    /// Said instead of anything else.
    instead: Option<Instead>,
    /// Watches that began before are over.
    ended: usize,
}

/// What is said instead.
#[derive(Clone)]
pub(crate) enum Instead {
    Status(u16),
    /// To a list.
    Text(String),
    Nothing,
}

impl ScriptedKubernetes {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        let server =
            ScriptedHttp::start(move |head, stream, is_over| its.answer(head, stream, is_over));
        Self { server, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// A slice has these endpoints, which are ready, from now on.
    pub(crate) fn say(&self, slice: &str, ips: &[&str], port: u16) {
        const READY: &str = "\"ready\": true, \"serving\": true, \"terminating\": false";
        let endpoints: Vec<_> = ips.iter().map(|&ip| (ip, READY)).collect();
        self.say_of(slice, &endpoints, port);
    }

    /// The same with their conditions.
    pub(crate) fn say_of(&self, slice: &str, endpoints: &[(&str, &str)], port: u16) {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(ip, conditions)| {
                format!("{{\"addresses\": [\"{ip}\"], \"conditions\": {{{conditions}}}, \"nodeName\": \"n1\"}}")
            })
            .collect();
        let mut script = self.script();
        script.version += 1;
        let text = format!(
            "{{\"apiVersion\": \"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", \"metadata\": {{\"name\": \"{slice}\", \
             \"namespace\": \"shop\", \"resourceVersion\": \"{}\", \"labels\": {{\"kubernetes.io/service-name\": \"web\"}}}}, \
             \"addressType\": \"IPv4\", \"endpoints\": [{}], \"ports\": [{{\"name\": \"http\", \"port\": {port}, \"protocol\": \
             \"TCP\"}}]}}",
            script.version,
            endpoints.join(", ")
        );
        let before = script.slices.insert(slice.to_owned(), text.clone());
        let kind = if before.is_none() {
            "ADDED"
        } else {
            "MODIFIED"
        };
        script.happens(kind, &text);
    }

    pub(crate) fn remove(&self, slice: &str) {
        let mut script = self.script();
        script.version += 1;
        let text = script.slices.remove(slice).expect("it is there");
        script.happens("DELETED", &text);
    }

    /// What was before is forgotten: a watch from there can't go on.
    pub(crate) fn compact(&self) {
        let mut script = self.script();
        script.version += 1;
        script.kept = script.version;
        script.events.clear();
    }

    /// Ends the watches that there are.
    pub(crate) fn end_watches(&self) {
        self.script().ended += 1;
    }

    /// Says this instead from now on, also to who watches.
    pub(crate) fn say_instead(&self, instead: Option<Instead>) {
        let mut script = self.script();
        script.instead = instead;
        script.ended += 1;
    }

    /// Only who has this token is answered from now on.
    pub(crate) fn expect_token(&self, token: &str) {
        self.script().token = Some(token.to_owned());
    }

    pub(crate) fn lists(&self) -> usize {
        self.shared.lists.load(SeqCst)
    }

    pub(crate) fn watches(&self) -> usize {
        self.shared.watches.load(SeqCst)
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.shared.script.lock().expect("no panic")
    }
}

impl Script {
    fn happens(&mut self, kind: &str, object: &str) {
        let line = format!("{{\"type\": \"{kind}\", \"object\": {object}}}\n");
        self.events.push((self.version, line));
    }
}

impl Shared {
    fn answer(&self, head: &str, mut stream: TcpStream, is_over: &AtomicBool) {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let status = |stream: &mut TcpStream, status: u16| {
            let _ = write!(stream, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
        };
        let (instead, token) = {
            let script = self.script.lock().expect("no panic");
            (script.instead.clone(), script.token.clone())
        };
        let is_known = token.is_none_or(|token| {
            let line = format!("authorization: Bearer {token}\r\n");
            head.contains(&line)
        });
        let is_watch = path.contains("&watch=1");
        match instead {
            _ if !is_known => status(&mut stream, 401),
            _ if !path.starts_with(SLICES) => status(&mut stream, 404),
            Some(Instead::Status(other)) => status(&mut stream, other),
            Some(Instead::Nothing) => {
                let is_silent = |script: &Script| matches!(script.instead, Some(Instead::Nothing));
                while is_silent(&self.script.lock().expect("no panic")) && !is_over.load(SeqCst) {
                    thread::park_timeout(Duration::from_millis(20));
                }
            }
            Some(Instead::Text(text)) => page(&mut stream, &text),
            None if is_watch => self.watch(stream, path, is_over),
            None => {
                let script = self.script.lock().expect("no panic");
                let items: Vec<_> = script.slices.values().map(String::as_str).collect();
                let text = format!(
                    "{{\"kind\": \"EndpointSliceList\", \"apiVersion\": \"discovery.k8s.io/v1\", \"metadata\": \
                     {{\"resourceVersion\": \"{}\"}}, \"items\": [{}]}}",
                    script.version,
                    items.join(", ")
                );
                drop(script);
                self.lists.fetch_add(1, SeqCst);
                page(&mut stream, &text);
            }
        }
    }

    fn watch(&self, mut stream: TcpStream, path: &str, is_over: &AtomicBool) {
        let from = path.split("resourceVersion=").nth(1).unwrap_or_default();
        let from = from.split('&').next().unwrap_or_default();
        let mut seen: u64 = from.parse().expect("a version of a list");
        self.watches.fetch_add(1, SeqCst);
        let (kept, ended) = {
            let script = self.script.lock().expect("no panic");
            (script.kept, script.ended)
        };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        // The head, and then chunks.
        let mut first = head.to_owned();
        if seen < kept {
            let gone = "{\"type\": \"ERROR\", \"object\": {\"kind\": \"Status\", \"status\": \"Failure\", \"message\": \"too old \
                resource version\", \"reason\": \"Expired\", \"code\": 410}}\n";
            first += &format!("{:x}\r\n{gone}\r\n0\r\n\r\n", gone.len());
            let _ = stream.write_all(first.as_bytes());
            return;
        }
        let mark = format!(
            "{{\"type\": \"BOOKMARK\", \"object\": {{\"kind\": \"EndpointSlice\", \"metadata\": {{\"resourceVersion\": \
             \"{seen}\"}}}}}}\n"
        );
        first += &format!("{:x}\r\n{mark}\r\n", mark.len());
        if stream.write_all(first.as_bytes()).is_err() {
            return;
        }
        let send = |mut stream: &TcpStream, text: &str| {
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            stream.write_all(chunk.as_bytes()).is_ok()
        };
        while !is_over.load(SeqCst) {
            let script = self.script.lock().expect("no panic");
            let has_ended = script.ended != ended;
            let new = script.events.iter().filter(|(version, _)| *version > seen);
            let new: Vec<_> = new.cloned().collect();
            drop(script);
            if has_ended {
                let _ = stream.write_all(b"0\r\n\r\n");
                return;
            }
            for (version, line) in new {
                seen = version;
                // As it may come: in two pieces.
                let (one, other) = line.split_at(line.len() / 2);
                if !send(&stream, one) || !send(&stream, other) {
                    return;
                }
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

fn page(stream: &mut TcpStream, text: &str) {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(text.as_bytes());
}
