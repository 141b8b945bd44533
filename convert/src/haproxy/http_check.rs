//! `option httpchk` and its rules.

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::value::{Item, Value};
use super::check_step::after_options;
use super::section::Line;

/// Sets the request of a check and what is expected of its answer: `option` is the line that has HAProxy make it, and `said` its rules.
/// With `has_bare_rules` the option is one of defaults, of which HAProxy has forgotten the request.
pub(super) fn read(
    option: &Line,
    said: &[&Line],
    has_bare_rules: bool,
    keys: &mut Keys,
    notes: &mut Notes,
) {
    let from = &option.from;
    let sends = |line: &&Line| line.words[1] == "send";
    let words = option.words();
    let request = match said.iter().copied().any(|line| sends(&line)) {
        true if has_bare_rules => &[][..],
        false if has_bare_rules => {
            let why = "HAProxy sends no request where a section has rules `http-check` and no `option httpchk` itself, and its check fails; here \
                       the request is sent";
            notes.lose(from, why);
            &words[2..]
        }
        _ => &words[2..],
    };
    let mut request = Request::new(request, from);
    for line in said {
        let from = &line.from;
        let words = line.words();
        match words[1..] {
            ["send", ref arguments @ ..] => {
                // The option is the first line of a request, wherever it stands; of two the later one counts.
                let is_before = from.place.file == option.from.place.file
                    && from.place.line < option.from.place.line;
                request.send(arguments, is_before, from, notes);
            }
            ["expect", ref arguments @ ..] => request.expect(arguments, from, notes),
            ["send-state"] => notes.remark(from, "servers hear nothing of their own state"),
            _ => notes.lose(from, "a check sends one request and looks at its answer"),
        }
    }
    keys.set("type", "http", from);
    keys.set("http", Value::Table(request.entries), &request.from);
}

struct Request {
    entries: Vec<(&'static str, Value)>,
    /// A status is expected, and not only what counts without one.
    has_status: bool,
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
            has_status: false,
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

    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(found, _)| *found == key)
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

    /// `http-check send`, on top of the option, or below one that stands after it.
    fn send(&mut self, words: &[&str], is_before: bool, from: &Origin, notes: &mut Notes) {
        self.from = from.clone();
        if words.contains(&"hdr") {
            // Its lines replace those of the option.
            self.entries
                .retain(|(key, _)| !matches!(*key, "host" | "headers"));
        }
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut next = || words.next().copied().unwrap_or_default();
            match word {
                "meth" | "uri" if is_before => drop(next()),
                "meth" => self.set("method", next()),
                "uri" => self.set("path", next()),
                "ver" | "comment" => drop(next()),
                "hdr" => {
                    let (name, value) = (next(), next());
                    if value.contains("%[") {
                        let words = format!("hdr {name} {value}");
                        notes.lose(
                            &from.part(&words),
                            "the lines of a check's head are as they stand there",
                        );
                    } else {
                        self.header(name, value);
                    }
                }
                "body" | "body-lf" => {
                    let words = format!("{word} {}", next());
                    notes.lose(&from.part(&words), "a check sends no body");
                }
                "uri-lf" => {
                    let words = format!("{word} {}", next());
                    notes.lose(&from.part(&words), "a check's path is as it stands there");
                }
                _ => notes.lose(
                    &from.part(word),
                    "a check has a method, a path and lines of a head, all of them as they are",
                ),
            }
        }
    }

    fn expect(&mut self, words: &[&str], from: &Origin, notes: &mut Notes) {
        let again = "a check expects one status and one text of one answer; the first one counts";
        match after_options(words) {
            [kind @ ("status" | "rstatus"), statuses] => {
                if self.has_status {
                    return notes.lose(from, again);
                }
                let ranges = match *kind {
                    "status" => Some(statuses.split(',').map(status).collect::<Value>()),
                    _ => class(statuses).map(|ranges| ranges.into_iter().collect()),
                };
                match ranges {
                    Some(ranges) => {
                        self.has_status = true;
                        self.set("status", ranges);
                    }
                    None => notes.lose(from, "statuses are numbers and ranges of them, as in `status 200-399`; the check takes 200 to 399"),
                }
            }
            [kind @ ("string" | "rstring"), text] => {
                if self.has("body") || self.has("body_regex") {
                    return notes.lose(from, again);
                }
                if !self.has_status {
                    // Of the status nothing is expected then.
                    self.set("status", ["100-599"].into_iter().collect::<Value>());
                }
                let key = if *kind == "string" { "body" } else { "body_regex" };
                self.set(key, *text);
            }
            _ => notes.lose(from, "an answer is known by its status and its body, and not by what it is not; the check takes 200 to 399"),
        }
    }
}

fn status(text: &str) -> Value {
    match text.parse() {
        Ok(status) => Value::Integer(status),
        Err(_) => Value::Text(text.to_owned()),
    }
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
