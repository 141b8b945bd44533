//! Rules of routers: what they ask for, as alternatives of conditions.

use std::iter::Peekable;
use std::str::Chars;

use super::super::intersection::{Condition, both};
use super::expression::names;

/// Parentheses within parentheses.
const DEPTH_MAX: usize = 32;

/// Alternatives of one rule.
const ALTERNATIVES_MAX: usize = 1000;

/// Bytes of a rule.
const BYTES_MAX: usize = 64 * 1024;

/// A rule that was read. Its `sni` with `*` is every client.
#[derive(Debug)]
pub(super) struct Rule {
    /// All conditions of one of them must hold.
    pub(super) alternatives: Vec<Vec<Condition>>,
    /// Whether it is ``HostSNI(`*`)`` and nothing else.
    pub(super) is_rest: bool,
    /// Whether a `*` of it stands for one label in Traefik, and here for any number of them.
    pub(super) is_wider: bool,
}

impl Rule {
    /// Whether it asks for what only clients of TLS say.
    pub(super) fn asks_of_tls(&self) -> bool {
        let mut conditions = self.alternatives.iter().flatten();
        conditions.any(|(key, values)| match *key {
            "sni" => values != &["*"],
            key => key == "alpn",
        })
    }
}

/// Reads a rule, or says why it can't be a route.
pub(super) fn read(rule: &str) -> Result<Rule, String> {
    if rule.len() > BYTES_MAX {
        return Err(format!("the rule has more than {BYTES_MAX} bytes"));
    }
    let mut parser = Parser {
        rest: rule.chars().peekable(),
        depth: 0,
        matchers: 0,
        is_wider: false,
    };
    let alternatives = parser.any()?;
    match parser.peek() {
        None => Ok(Rule {
            is_rest: parser.matchers == 1 && alternatives == [[("sni", vec!["*".to_owned()])]],
            alternatives,
            is_wider: parser.is_wider,
        }),
        Some(character) => Err(format!("`{character}` is not expected there")),
    }
}

struct Parser<'r> {
    rest: Peekable<Chars<'r>>,
    depth: usize,
    matchers: usize,
    is_wider: bool,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        while self
            .rest
            .next_if(|character| character.is_whitespace())
            .is_some()
        {}
        self.rest.peek().copied()
    }

    /// Takes `&&` or `||`, if it comes next.
    fn takes(&mut self, sign: char) -> Result<bool, String> {
        if self.peek() != Some(sign) {
            return Ok(false);
        }
        self.rest.next();
        match self.rest.next() {
            Some(next) if next == sign => Ok(true),
            _ => Err(format!("write `{sign}{sign}`")),
        }
    }

    fn any(&mut self) -> Result<Vec<Vec<Condition>>, String> {
        let mut all = self.every()?;
        while self.takes('|')? {
            all.append(&mut self.every()?);
            within(all.len())?;
        }
        Ok(all)
    }

    fn every(&mut self) -> Result<Vec<Vec<Condition>>, String> {
        let mut all = self.one()?;
        while self.takes('&')? {
            let next = self.one()?;
            within(all.len() * next.len())?;
            if !all
                .iter()
                .all(|left| next.iter().all(|right| is_one_offer(left, right)))
            {
                return Err(
                    "a route asks for one of its protocols, not for several at once".to_owned(),
                );
            }
            let pairs = all
                .iter()
                .flat_map(|left| next.iter().map(move |right| both(left, right)));
            all = pairs.flatten().collect();
        }
        Ok(all)
    }

    fn one(&mut self) -> Result<Vec<Vec<Condition>>, String> {
        match self.peek() {
            Some('!') => Err("a route does not ask for what a connection is not; put a route that takes the others before it".to_owned()),
            Some('(') => {
                self.rest.next();
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(format!("parentheses are more than {DEPTH_MAX} deep"));
                }
                let all = self.any()?;
                self.depth -= 1;
                match (self.peek(), self.rest.next()) {
                    (Some(')'), _) => Ok(all),
                    _ => Err("a `)` is missing".to_owned()),
                }
            }
            _ => self.matcher(),
        }
    }

    /// A name with its arguments, such as ``HostSNI(`a.example.com`)``.
    fn matcher(&mut self) -> Result<Vec<Vec<Condition>>, String> {
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(char::is_ascii_alphanumeric) {
            name.push(letter);
        }
        if self.peek() != Some('(') {
            return Err(format!("`{name}` has no `(`"));
        }
        self.rest.next();
        let mut arguments = Vec::new();
        loop {
            match self.peek() {
                Some(quote @ ('`' | '"' | '\'')) => {
                    self.rest.next();
                    arguments.push(self.quoted(quote)?);
                }
                Some(',') => {
                    self.rest.next();
                }
                Some(')') => {
                    self.rest.next();
                    break;
                }
                _ => return Err(format!("an argument of `{name}` has no quotes")),
            }
        }
        if arguments.is_empty() {
            return Err(format!("`{name}` has no argument"));
        }
        self.matchers += 1;
        let key = match name.to_ascii_lowercase().as_str() {
            "hostsni" => "sni",
            "alpn" => "alpn",
            "clientip" => "source",
            "hostsniregexp" => {
                let names = arguments.iter().map(|expression| names(expression));
                let names = names.collect::<Result<Vec<_>, _>>()?;
                self.is_wider |= names.iter().any(|names| names.is_wider);
                let names = names.into_iter().map(|names| names.text).collect();
                return Ok(vec![vec![("sni", names)]]);
            }
            _ => return Err(format!("`{name}` is none of HostSNI, ClientIP and ALPN")),
        };
        if key == "sni" {
            arguments
                .iter_mut()
                .for_each(|name| name.make_ascii_lowercase());
            self.is_wider |= arguments.iter().any(|name| name.starts_with("*."));
        }
        Ok(vec![vec![(key, arguments)]])
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some(end) if end == quote => return Ok(text),
                Some(character) => text.push(character),
                None => return Err("a quote is not closed".to_owned()),
            }
        }
    }
}

/// Whether both ask for the same protocols, if both do: a client may offer those of the one and of the other.
fn is_one_offer(left: &[Condition], right: &[Condition]) -> bool {
    let alpn = |all: &[Condition]| {
        let mut all = all.iter();
        all.find(|(key, _)| *key == "alpn")
            .map(|(_, values)| values.clone())
    };
    match (alpn(left), alpn(right)) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    }
}

fn within(count: usize) -> Result<(), String> {
    match count <= ALTERNATIVES_MAX {
        true => Ok(()),
        false => Err(format!(
            "the rule has more than {ALTERNATIVES_MAX} alternatives"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rule: &str) -> Result<String, String> {
        let all = read(rule)?.alternatives.into_iter().map(|conditions| {
            let conditions = conditions
                .into_iter()
                .map(|(key, values)| format!("{key}={}", values.join(",")));
            conditions.collect::<Vec<_>>().join(" ")
        });
        Ok(all.collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn rules_become_alternatives() {
        for (rule, expected) in [
            ("HostSNI(`*`)", "sni=*"),
            (
                "HostSNI(`A.example`) || HostSNI(`b.example`)",
                "sni=a.example | sni=b.example",
            ),
            (
                "HostSNI(`a`,\"b\") && ClientIP(`10.0.0.0/8`)",
                "sni=a,b source=10.0.0.0/8",
            ),
            (
                "(HostSNI(`a`) || HostSNI(`b`)) && (ALPN(`h2`))",
                "sni=a alpn=h2 | sni=b alpn=h2",
            ),
            ("HostSNI(`*`) && HostSNI(`a`)", "sni=a"),
            (
                "ClientIP(`127.0.0.0/8`) && ClientIP(`127.0.0.1`)",
                "source=127.0.0.1",
            ),
            (
                "HostSNI(`*.example.com`) && HostSNIRegexp(`^a\\.example\\.com$`)",
                "sni=a.example.com",
            ),
            ("ALPN(`h2`) && ALPN(`h2`)", "alpn=h2"),
            ("HostSNIRegexp(`^.+\\.example\\.com$`)", "sni=*.example.com"),
            ("HostSNIRegexp(`^a\\.example\\.com$`)", "sni=a.example.com"),
        ] {
            assert_eq!(text(rule).as_deref(), Ok(expected), "{rule}");
        }
        for bad in [
            "",
            "HostSNI",
            "HostSNI()",
            "HostSNI(a)",
            "!HostSNI(`a`)",
            "HostSNI(`a`) &",
            "ALPN(`h2`) && ALPN(`http/1.1`)",
            "HostSNI(`a`))",
            "Host(`a`)",
            "HostSNI(`a",
            "HostSNIRegexp(`a|b`)",
            "HostSNIRegexp(`a\\.example\\.com$`)",
            "HostSNIRegexp(`^a\\.example\\.com`)",
            "HostSNIRegexp(`^a.example\\.com$`)",
        ] {
            assert!(text(bad).is_err(), "{bad}");
        }
        for (rule, is_rest, is_wider) in [
            ("HostSNI(`*`)", true, false),
            ("HostSNI(`*`) && HostSNI(`*`)", false, false),
            ("HostSNI(`*.example.com`)", false, true),
            ("HostSNIRegexp(`^[a-z]+\\.example\\.com$`)", false, true),
            ("HostSNIRegexp(`^.+\\.example\\.com$`)", false, false),
        ] {
            let read = read(rule).expect(rule);
            assert_eq!((read.is_rest, read.is_wider), (is_rest, is_wider), "{rule}");
        }
        assert!(text(&"(".repeat(100_000)).is_err());
        let many = vec!["(HostSNI(`a`) || HostSNI(`b`))"; 30].join(" && ");
        assert!(text(&many).is_ok() || text(&many).unwrap_err().contains("alternatives"));
    }
}
