//! A real browser with one page open: headless Chromium, driven over its debugging pipe.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::child::Child;
use super::wait::DEADLINE;

/// Chromium's requests are lines of JSON that end with this byte, and so are its answers.
const END: u8 = 0;

pub(crate) struct Browser {
    _child: Child,
    requests: File,
    answers: Receiver<Value>,
    last: u64,
    session: String,
    asked: Vec<String>,
}

impl Browser {
    /// Opens `url`, with what the browser writes under `directory`. None where there is no browser, which it says.
    pub(crate) fn open(directory: &Path, url: &str) -> Option<Self> {
        if let Err(error) = Command::new("chromium").arg("--version").output() {
            println!("skipped: chromium: {error}; `bash tests/run` installs it");
            return None;
        }
        let directory = directory.join("browser");
        fs::create_dir(&directory).expect("directory");
        let pipe = |name: &str| {
            let path = directory.join(name);
            mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("fifo");
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        // The browser has its ends as the descriptors 3 and 4.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec chromium \"$@\" 3<\"$0/to\" 4>\"$0/from\""])
            .arg(&directory)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--disable-sync", "--disable-dev-shm-usage"])
            // What the browser itself asks for doesn't leave this machine.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!(
                "--user-data-dir={}",
                directory.join("profile").display()
            ))
            .args(["--remote-debugging-pipe", "about:blank"]);
        let child = Child::spawn(&mut command, Signal::KILL);
        // For reading too: so it doesn't wait for the other end.
        let mut options = OpenOptions::new();
        let requests = options.read(true).write(true).open(to).expect("open");
        let mut browser = Self {
            _child: child,
            requests,
            answers: receive(File::open(from).expect("open")),
            last: 0,
            session: String::new(),
            asked: Vec::new(),
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        attached["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut browser.session);
        browser.call("Network.enable", json!({}));
        browser.call("Page.navigate", json!({ "url": url }));
        Some(browser)
    }

    /// The value of a JavaScript expression in the page; a promise's once it has one.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut outcome = self.call("Runtime.evaluate", parameters);
        let exception = &outcome["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        outcome["result"]["value"].take()
    }

    /// As [`Browser::evaluate`], for text. What is no text is empty.
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value.as_str().unwrap_or_default().to_owned()
    }

    /// What a screen reader finds on the page, one piece of text a line. What is hidden is not in it.
    pub(crate) fn readable(&mut self) -> String {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes").iter();
        let texts = nodes.filter(|node| node["role"]["value"] == "StaticText");
        let names = texts.filter_map(|node| node["name"]["value"].as_str());
        names.collect::<Vec<_>>().join("\n")
    }

    /// What the page has asked for so far.
    pub(crate) fn asked(&self) -> &[String] {
        &self.asked
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = request.to_string().into_bytes();
        bytes.push(END);
        self.requests.write_all(&bytes).expect("the browser reads");
        loop {
            let mut answer = self
                .answers
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|error| panic!("{method}: {error}"));
            if answer["method"] == "Network.requestWillBeSent" {
                let url = &answer["params"]["request"]["url"];
                self.asked.push(url.as_str().expect("a URL").to_owned());
            }
            if answer["id"] == self.last {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
        }
    }
}

/// Reads to the end, on a thread of its own: a browser that hangs must not hang the test.
fn receive(answers: File) -> Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for answer in BufReader::new(answers).split(END).map_while(Result::ok) {
            let answer = serde_json::from_slice(&answer).expect("JSON");
            if sender.send(answer).is_err() {
                return;
            }
        }
    });
    receiver
}
