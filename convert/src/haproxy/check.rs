//! Health checks: `option httpchk`, `tcp-check` and their like.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::{Keys, Upstream};
use super::super::value::{Item, Value};
use super::proxy::Proxy;
use super::section::Line;

/// A bind as nobody, and the answer to it (`61`, an `a`) with the result "success" (`0a 01 00`); lengths have up to five bytes.
const LDAP_BIND: &str = "300c020101600702010304008000";
const LDAP_SUCCESS: &str = "(?s-u)^0.{1,5}\\x02\\x01\\x01a.{1,5}\\x0a\\x01\\x00";

/// Fills the table `health` of an upstream with what its checks say and expect.
pub(super) fn read(proxy: &Proxy, upstream: &mut Upstream, is_tls: bool, notes: &mut Notes) {
    let Some(check) = &proxy.check else {
        if is_tls && let Some((_, from, _)) = upstream.tables.first() {
            let from = from.clone();
            upstream.table("health", &from).set("type", "tls", &from);
        }
        return;
    };
    let from = &check.from;
    let words = check.words();
    let keys = upstream.table("health", from);
    if is_tls && !matches!(words[1], "ssl-hello-chk" | "tcp-check") {
        notes.lose(from, "a check inside TLS is not made; the server's port without TLS can be checked by `check_port`");
        keys.set("type", "tls", from);
        return;
    }
    match words[1..] {
        ["httpchk", ref request @ ..] => http(proxy, request, from, keys, notes),
        ["tcp-check", ..] if is_tls && proxy.all("tcp-check").is_empty() => keys.set("type", "tls", from),
        ["tcp-check", ..] => tcp(proxy, is_tls, keys, notes),
        ["pgsql-check", ref arguments @ ..] => {
            keys.set("type", "postgres", from);
            user(arguments, from, keys);
        }
        ["mysql-check", ref arguments @ ..] => {
            notes.remark(from, "it logs in by today's protocol, and a server that refuses the user is up");
            keys.set("type", "mysql", from);
            user(arguments, from, keys);
        }
        ["redis-check", ..] => keys.set("type", "redis", from),
        ["ssl-hello-chk", ..] => keys.set("type", "tls", from),
        ["smtpchk", ref hello @ ..] => {
            let hello = match hello {
                [verb, domain, ..] => format!("{verb} {domain}\r\n"),
                _ => "HELO localhost\r\n".to_owned(),
            };
            // The last line of an answer has no hyphen.
            let steps = [
                ("expect", "220"),
                ("send", hello.as_str()),
                ("expect_regex", "(?m)^2[0-9][0-9][ \\r]"),
                ("send", "QUIT\r\n"),
                ("expect_regex", "(?m)^2[0-9][0-9]"),
            ];
            expect(keys, steps.map(|(key, text)| step(key, text, from)).into(), from);
        }
        ["ldap-check", ..] => {
            let steps = [("send_hex", LDAP_BIND), ("expect_regex", LDAP_SUCCESS)];
            expect(keys, steps.map(|(key, text)| step(key, text, from)).into(), from);
        }
        _ => notes.lose(from, "corelane runs no programs; the check is a connect. Use a check of another `type`, or an `agent`"),
    }
}

fn user(arguments: &[&str], from: &Origin, keys: &mut Keys) {
    if let ["user", user, ..] = arguments {
        keys.set("user", *user, from);
    }
}

fn step(key: &'static str, text: &str, from: &Origin) -> Item {
    Item::new(Value::Table(vec![(key, text.into())]), from)
}

fn expect(keys: &mut Keys, steps: Vec<Item>, from: &Origin) {
    if !steps.is_empty() {
        keys.set("type", "expect", from);
        keys.set("expect", Value::List(steps), from);
    }
}

/// `option httpchk` and `http-check`.
fn http(proxy: &Proxy, request: &[&str], from: &Origin, keys: &mut Keys, notes: &mut Notes) {
    let mut request = Request::new(request, from);
    let mut expected = false;
    for line in proxy.all("http-check") {
        let from = &line.from;
        let words = line.words();
        match words[1..] {
            ["send", ref arguments @ ..] => request.send(arguments, from, notes),
            ["expect", ref arguments @ ..] => {
                if expected {
                    notes.lose(
                        from,
                        "a check expects one thing of one answer; the first one counts",
                    );
                } else {
                    expected = true;
                    request.expect(arguments, from, notes);
                }
            }
            ["connect", ref arguments @ ..] => connect(arguments, from, keys, notes),
            ["comment", ..] => {}
            ["send-state"] => notes.remark(from, "servers hear nothing of their own state"),
            _ => notes.lose(from, "a check sends one request and looks at its answer"),
        }
    }
    keys.set("type", "http", from);
    keys.set("http", Value::Table(request.entries), &request.from);
}

struct Request {
    entries: Vec<(&'static str, Value)>,
    from: Origin,
}

impl Request {
    /// `option httpchk [METHOD] PATH [VERSION]`. The version may bring lines of the head with it, as it once had to.
    fn new(words: &[&str], from: &Origin) -> Self {
        let (method, path, version) = match words {
            [] => ("OPTIONS", "/", ""),
            [path] => ("OPTIONS", *path, ""),
            [method, path] => (*method, *path, ""),
            [method, path, version, ..] => (*method, *path, *version),
        };
        let mut request = Self {
            entries: Vec::new(),
            from: from.clone(),
        };
        request.set("method", method);
        request.set("path", path);
        for line in version.split("\r\n").skip(1) {
            if let Some((name, value)) = line.split_once(':') {
                request.header(name, value.trim());
            }
        }
        request
    }

    fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.entries.retain(|(found, _)| *found != key);
        self.entries.push((key, value.into()));
    }

    fn header(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("host") {
            return self.set("host", value);
        }
        let line = Item::from(format!("{name}: {value}"));
        let found = self.entries.iter_mut().find(|(key, _)| *key == "headers");
        match found {
            Some((_, Value::List(lines))) => lines.push(line),
            _ => self.set("headers", Value::List(vec![line])),
        }
    }

    fn send(&mut self, words: &[&str], from: &Origin, notes: &mut Notes) {
        self.from = from.clone();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut next = || words.next().copied().unwrap_or_default();
            match word {
                "meth" => self.set("method", next()),
                "uri" => self.set("path", next()),
                "ver" | "comment" => drop(next()),
                "hdr" => {
                    let name = next();
                    self.header(name, next());
                }
                "body" => {
                    next();
                    notes.lose(from, "a check sends no body");
                }
                _ => notes.lose(
                    &from.part(word),
                    "a check has a method, a path and lines of a head, all of them as they are",
                ),
            }
        }
    }

    fn expect(&mut self, words: &[&str], from: &Origin, notes: &mut Notes) {
        match after_options(words) {
            ["status", statuses] => {
                let value = |text: &str| match text.parse::<u64>() {
                    Ok(status) => Value::Integer(status),
                    Err(_) => Value::Text(text.to_owned()),
                };
                self.set("status", statuses.split(',').map(value).collect::<Value>());
            }
            ["rstatus", regex] => match class(regex) {
                Some(ranges) => self.set("status", ranges.iter().map(String::as_str).collect::<Value>()),
                None => notes.lose(from, "statuses are numbers and ranges of them, as in `status 200-399`; the check takes 200 to 399"),
            },
            [kind @ ("string" | "rstring"), text] => {
                let key = if *kind == "string" { "body" } else { "body_regex" };
                // Of the status nothing is expected then.
                self.set("status", ["100-599"].into_iter().collect::<Value>());
                self.set(key, *text);
            }
            _ => notes.lose(from, "an answer is known by its status and its body, and not by what it is not; the check takes 200 to 399"),
        }
    }
}

/// What an `expect` waits for, behind its options.
fn after_options<'s, 'w>(words: &'s [&'w str]) -> &'s [&'w str] {
    let mut words = words;
    while let [option, _, rest @ ..] = words
        && matches!(
            *option,
            "min-recv"
                | "comment"
                | "ok-status"
                | "error-status"
                | "tout-status"
                | "on-success"
                | "on-error"
                | "status-code"
        )
    {
        words = rest;
    }
    words
}

/// The statuses that a regular expression such as `^2` or `[23]..` means.
fn class(regex: &str) -> Option<Vec<String>> {
    let regex = regex.trim_start_matches('^').trim_end_matches('$');
    let regex = ["[0-9][0-9]", "[0-9]{2}", "\\d\\d", "\\d{2}", "..", ".*"]
        .iter()
        .find_map(|rest| regex.strip_suffix(rest))
        .unwrap_or(regex);
    let digits = match regex
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(digits) => digits,
        None => regex.trim_start_matches('(').trim_end_matches(')'),
    };
    let digits: Vec<_> = digits.chars().filter(|digit| *digit != '|').collect();
    let all = !digits.is_empty() && digits.iter().all(|digit| ('1'..='5').contains(digit));
    all.then(|| {
        digits
            .iter()
            .map(|digit| format!("{digit}00-{digit}99"))
            .collect()
    })
}

/// `tcp-check connect` and its options.
fn connect(arguments: &[&str], from: &Origin, keys: &mut Keys, notes: &mut Notes) {
    let mut arguments = arguments.iter();
    while let Some(&word) = arguments.next() {
        match word {
            "default" | "linger" => {}
            "port" => match arguments.next().and_then(|port| port.parse::<u64>().ok()) {
                Some(port) => keys.set("port", port, from),
                None => notes.lose(from, "the port of a check is a number"),
            },
            "comment" => drop(arguments.next()),
            "send-proxy" => notes.remark(from, "checks have a PROXY header as connections do"),
            word => {
                notes.lose(&from.part(word), "a check connects to the server's address, or to another port of it, without TLS");
                arguments.next();
            }
        }
    }
}

/// `tcp-check`.
fn tcp(proxy: &Proxy, is_tls: bool, keys: &mut Keys, notes: &mut Notes) {
    let mut steps = Vec::new();
    let mut is_connected = false;
    let lines = proxy.all("tcp-check");
    for line in lines {
        let from = &line.from;
        let words = line.words();
        match words[1..] {
            ["connect", ref arguments @ ..] if !is_connected && steps.is_empty() => {
                is_connected = true;
                if arguments.contains(&"ssl") && !lines.iter().any(says_something) {
                    keys.set("type", "tls", from);
                } else {
                    connect(arguments, from, keys, notes);
                }
            }
            ["connect", ..] => notes.lose(from, "a check makes one connection; what is said over a second one is left out, too"),
            ["comment", ..] => {}
            _ if is_tls => notes.lose(from, "nothing is said inside TLS; the check is a handshake"),
            ["send", text, ..] => steps.push(step("send", text, from)),
            ["send-binary", hex, ..] => steps.push(step("send_hex", hex, from)),
            ["expect", ref arguments @ ..] => match expected(arguments) {
                Some((key, text)) => steps.push(step(key, text, from)),
                None => notes.lose(from, "a check waits for text, bytes or a regular expression that comes, and not for what must not come"),
            },
            _ => notes.lose(from, "a check sends what stands in the file, and waits for an answer"),
        }
    }
    if let Some(first) = lines.first() {
        expect(keys, steps, &first.from);
    }
    if is_tls && let Some(first) = lines.first() {
        keys.set("type", "tls", &first.from);
    }
}

fn says_something(line: &Line) -> bool {
    !matches!(line.words[1].as_str(), "connect" | "comment")
}

fn expected<'w>(words: &[&'w str]) -> Option<(&'static str, &'w str)> {
    match after_options(words) {
        ["string", text, ..] => Some(("expect", text)),
        ["rstring", regex, ..] => Some(("expect_regex", regex)),
        ["binary", hex, ..] => Some(("expect_hex", hex)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_statuses_are_known() {
        for (regex, ranges) in [
            ("^2", "200-299"),
            ("[23]..", "200-299 300-399"),
            ("(2|3)[0-9][0-9]", "200-299 300-399"),
            ("^2[0-9]{2}$", "200-299"),
        ] {
            assert_eq!(class(regex).expect(regex).join(" "), ranges);
        }
        for regex in ["", "200|503", "^[2-3]", "a"] {
            assert_eq!(class(regex), None, "{regex}");
        }
    }
}
