//! Rules of routers: what they ask for, as alternatives of conditions.

use std::iter::Peekable;
use std::str::Chars;

/// Parentheses within parentheses.
const DEPTH_MAX: usize = 32;

/// Alternatives of one rule.
const ALTERNATIVES_MAX: usize = 1000;

/// Bytes of a rule.
const BYTES_MAX: usize = 64 * 1024;

/// A key of a route, and what must be among its values. `sni` with `*` is every client.
pub(super) type Condition = (&'static str, Vec<String>);

/// The alternatives of a rule, all of whose conditions must hold; or why there are none.
pub(super) fn alternatives(rule: &str) -> Result<Vec<Vec<Condition>>, String> {
    if rule.len() > BYTES_MAX {
        return Err(format!("the rule has more than {BYTES_MAX} bytes"));
    }
    let mut parser = Parser {
        rest: rule.chars().peekable(),
        depth: 0,
    };
    let all = parser.any()?;
    match parser.peek() {
        None => Ok(all),
        Some(character) => Err(format!("`{character}` is not expected there")),
    }
}

struct Parser<'r> {
    rest: Peekable<Chars<'r>>,
    depth: usize,
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
        let key = match name.to_ascii_lowercase().as_str() {
            "hostsni" => "sni",
            "alpn" => "alpn",
            "clientip" => "source",
            "hostsniregexp" => return names(&arguments),
            _ => return Err(format!("`{name}` is none of HostSNI, ClientIP and ALPN")),
        };
        if key == "sni" {
            arguments
                .iter_mut()
                .for_each(|name| name.make_ascii_lowercase());
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

fn within(count: usize) -> Result<(), String> {
    match count <= ALTERNATIVES_MAX {
        true => Ok(()),
        false => Err(format!(
            "the rule has more than {ALTERNATIVES_MAX} alternatives"
        )),
    }
}

/// The names that regular expressions stand for, of which those are known that mean all names below one.
fn names(expressions: &[String]) -> Result<Vec<Vec<Condition>>, String> {
    let name = |expression: &String| {
        let body = expression.strip_prefix('^').unwrap_or(expression);
        let body = body.strip_suffix('$').unwrap_or(body);
        let wild = [
            ".+\\.",
            ".*\\.",
            "[^.]+\\.",
            "[a-z]+\\.",
            "[a-z0-9-]+\\.",
            "(.+)\\.",
        ];
        let below = wild.iter().find_map(|wild| body.strip_prefix(wild));
        let name = below.unwrap_or(body).replace("\\.", ".");
        let is_plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let is_literal = below.unwrap_or(body).matches('.').count()
            == below.unwrap_or(body).matches("\\.").count();
        match (is_plain && is_literal && !name.is_empty(), below.is_some()) {
            (true, true) => Ok(format!("*.{name}")),
            (true, false) => Ok(name),
            (false, _) => Err(format!(
                "a route has no regular expressions, as {expression:?} is one; write the names, or \"*.example.com\" for all below one"
            )),
        }
    };
    let names = expressions.iter().map(name).collect::<Result<_, _>>()?;
    Ok(vec![vec![("sni", names)]])
}

/// What both ask for; nothing if no connection can be both.
fn both(left: &[Condition], right: &[Condition]) -> Option<Vec<Condition>> {
    let mut all = left.to_vec();
    for (key, values) in right {
        match all.iter_mut().find(|(found, _)| found == key) {
            None => all.push((key, values.clone())),
            Some((_, found)) if *key == "sni" && found == &["*"] => found.clone_from(values),
            Some(_) if *key == "sni" && values == &["*"] => {}
            Some((_, found)) => {
                found.retain(|value| values.contains(value));
                if found.is_empty() {
                    return None;
                }
            }
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rule: &str) -> Result<String, String> {
        let all = alternatives(rule)?.into_iter().map(|conditions| {
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
            ("HostSNIRegexp(`^.+\\.example\\.com$`)", "sni=*.example.com"),
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
            "HostSNI(`a`))",
            "Host(`a`)",
            "HostSNI(`a",
            "HostSNIRegexp(`a|b`)",
        ] {
            assert!(text(bad).is_err(), "{bad}");
        }
        assert!(text(&"(".repeat(100_000)).is_err());
        let many = vec!["(HostSNI(`a`) || HostSNI(`b`))"; 30].join(" && ");
        assert!(text(&many).is_ok() || text(&many).unwrap_err().contains("alternatives"));
    }
}
