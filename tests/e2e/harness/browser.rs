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

/// Chromium's options without a screen, as root or not, and without errands of its own.
pub(crate) const QUIET: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

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
        if !is_installed() {
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
            .args(QUIET)
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

    /// Presses a key and lets go of it. Enter's text is what makes it press a button.
    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => panic!("what code has {key}?"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types into what has the focus, in the place of what is selected there.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Touches the middle of the element that the expression is.
    pub(crate) fn touch(&mut self, element: &str) {
        let middle = self.evaluate(&format!(
            "(() => {{
                const box = ({element}).getBoundingClientRect();
                return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
            }})()"
        ));
        let events = [("touchStart", json!([middle])), ("touchEnd", json!([]))];
        for (kind, points) in events {
            let event = json!({ "type": kind, "touchPoints": points });
            self.call("Input.dispatchTouchEvent", event);
        }
    }

    /// Moves the mouse to the point, an object of `x` and `y`, that the expression is.
    pub(crate) fn point(&mut self, point: &str) {
        let Value::Object(mut event) = self.evaluate(point) else {
            panic!("{point} is no point");
        };
        event.insert("type".to_owned(), json!("mouseMoved"));
        self.call("Input.dispatchMouseEvent", event.into());
    }

    /// Makes the window a phone's: of this many CSS pixels, and touched.
    pub(crate) fn become_phone(&mut self, width: u32, height: u32) {
        self.resize(width, height, true);
        let touch = json!({ "enabled": true, "maxTouchPoints": 5 });
        self.call("Emulation.setTouchEmulationEnabled", touch);
    }

    /// Makes the window of a desktop this large.
    pub(crate) fn become_desktop(&mut self, width: u32, height: u32) {
        self.resize(width, height, false);
    }

    fn resize(&mut self, width: u32, height: u32, mobile: bool) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Says which colours, "dark" or "light", the system's user likes.
    pub(crate) fn prefer(&mut self, colours: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": colours });
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    /// What is seen, as PNG: this much from the top of the page, be the window smaller.
    pub(crate) fn picture(&mut self, width: u32, height: u32) -> Vec<u8> {
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let how = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        let taken = self.call("Page.captureScreenshot", how);
        debase64(taken["data"].as_str().expect("a picture"))
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

/// Whether there is a browser; says so where there is none.
pub(crate) fn is_installed() -> bool {
    let version = Command::new("chromium").arg("--version").output();
    if let Err(error) = &version {
        println!("skipped: chromium: {error}; `bash tests/run` installs it");
    }
    version.is_ok()
}

/// RFC 4648, without a look at what is no base64.
fn debase64(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits = text.trim_end_matches('=').as_bytes().chunks(4);
    digits
        .flat_map(|digits| {
            let bits = digits
                .iter()
                .fold(0, |bits, &digit| bits << 6 | u32::from(value(digit)));
            let bits = bits << (6 * (4 - digits.len()));
            bits.to_be_bytes()
                .into_iter()
                .skip(1)
                .take(digits.len() - 1)
        })
        .collect()
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
