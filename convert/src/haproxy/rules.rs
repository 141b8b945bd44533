//! `tcp-request`: who may connect, and how often.

use super::super::access;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::routing::{Rule, Target, Term as RouteTerm, Test};
use super::acl::{Acls, Condition, Term};
use super::expression::Asked;
use super::proxy::Proxy;
use super::section::Line;
use super::time;

/// What the rules of a proxy come to.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// By the address that has connected.
    pub(super) peers: Vec<access::Rule>,
    /// By the address that is announced, where one is.
    pub(super) clients: Vec<access::Rule>,
    /// Routes that come first.
    pub(super) routes: Vec<Rule>,
    /// Other keys of the listener.
    pub(super) keys: Keys,
    /// A rule that keeps clients out can't be carried over: who may connect is not known then.
    pub(super) is_open: Option<Origin>,
    /// Who says no ClientHello is refused, once nothing else has decided.
    hello_comes_first: bool,
}

/// Reads all rules of a frontend.
pub(super) fn read(proxy: &Proxy, acls: &Acls<'_>, notes: &mut Notes) -> Rules {
    let mut rules = Rules::default();
    for line in proxy.all("tcp-request") {
        rules.line(line, proxy, acls, notes);
    }
    rules
}

impl Rules {
    fn line(&mut self, line: &Line, proxy: &Proxy, acls: &Acls<'_>, notes: &mut Notes) {
        let from = &line.from;
        let words = line.words();
        match words[1..] {
            ["inspect-delay", text] => match time::parse(text) {
                Some(time) if !time.is_zero() => self.keys.set("prologue_timeout", time, from),
                _ => notes.remark(from, "nobody is waited for"),
            },
            [
                stage @ ("connection" | "session" | "content"),
                action,
                ref rest @ ..,
            ] => {
                self.action(stage, action, rest, from, proxy, acls, notes);
            }
            _ => notes.lose(from, super::useless::UNKNOWN),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are what one line is made of"
    )]
    fn action(
        &mut self,
        stage: &str,
        action: &str,
        rest: &[&str],
        from: &Origin,
        proxy: &Proxy,
        acls: &Acls<'_>,
        notes: &mut Notes,
    ) {
        let start = rest
            .iter()
            .position(|word| matches!(*word, "if" | "unless"));
        let condition = acls.condition(&rest[start.unwrap_or(rest.len())..]);
        let allows = match action {
            "accept" => true,
            "reject" | "silent-drop" => {
                if action == "silent-drop" {
                    notes.remark(
                        from,
                        "who is refused is closed, or reset with `over_limit = \"reset\"`",
                    );
                }
                false
            }
            "expect-proxy" => return self.expect_proxy(condition, from, notes),
            _ if action.starts_with("track-sc") => {
                notes.remark(
                    from,
                    "sources are counted where a limit of them asks for it",
                );
                return;
            }
            _ if action.starts_with("set-var")
                || action == "capture"
                || action.starts_with("set-dst")
                || action.starts_with("set-src") =>
            {
                notes.lose(
                    from,
                    "corelane changes nothing that is known of a connection",
                );
                return;
            }
            _ => return notes.lose(from, super::useless::UNKNOWN),
        };
        let condition = match condition {
            Ok(condition) => condition,
            Err(why) => return self.lose(allows, from, &why, notes),
        };
        for terms in condition {
            self.rule(stage, allows, &terms, from, proxy, notes);
        }
    }

    fn lose(&mut self, allows: bool, from: &Origin, why: &str, notes: &mut Notes) {
        if allows {
            notes.lose(
                from,
                format!("{why}. Clients that it accepts go on to the rules after it"),
            );
        } else {
            self.is_open.get_or_insert_with(|| from.clone());
            notes.lose(from, format!("{why}. Clients that it refuses would be let in, so the listener is left out; add `deny` or routes with `reject`"));
        }
    }

    /// One alternative of a rule's condition.
    fn rule(
        &mut self,
        stage: &str,
        allows: bool,
        terms: &[Term],
        from: &Origin,
        proxy: &Proxy,
        notes: &mut Notes,
    ) {
        use Asked::{Everybody, Hello, Nobody, OpenOfSource, RateOfSource, Route};
        if let [term] = terms {
            match &term.any[..] {
                [OpenOfSource(count)] if !allows && !term.is_negated => {
                    self.keys
                        .set("max_connections_per_source", (*count).max(1), from);
                    return;
                }
                [RateOfSource(count)] if !allows && !term.is_negated => {
                    return self.rate(*count, from, proxy, notes);
                }
                [Hello] if allows => {
                    notes.remark(
                        from,
                        "a ClientHello is heard where a route asks for what is in it",
                    );
                    self.hello_comes_first = true;
                    return;
                }
                [Hello] if term.is_negated => {
                    self.keys.set("not_tls", "refuse", from);
                    return;
                }
                [Nobody] if !term.is_negated => return,
                _ => {}
            }
        }
        if terms.is_empty() && !allows && self.hello_comes_first {
            self.keys.set("not_tls", "refuse", from);
            return;
        }
        // What everybody has asks for nothing.
        let is_everybody = |term: &&Term| {
            !term.is_negated && term.any.iter().any(|asked| matches!(asked, Everybody))
        };
        let terms: Vec<_> = terms.iter().filter(|term| !is_everybody(term)).collect();
        let list = if stage == "connection" {
            &mut self.peers
        } else {
            &mut self.clients
        };
        let networks = |asked: &Asked| match asked {
            Route(Test::Source(networks)) => Some(networks.clone()),
            _ => None,
        };
        match &terms[..] {
            [] => {
                let from = from.clone();
                list.push(access::Rule {
                    networks: None,
                    is_negated: false,
                    allows,
                    from,
                });
                return;
            }
            [term] => {
                let found: Option<Vec<_>> = term.any.iter().map(networks).collect();
                if let Some(networks) = found {
                    let networks = Some(networks.concat());
                    let (is_negated, from) = (term.is_negated, from.clone());
                    list.push(access::Rule {
                        networks,
                        is_negated,
                        allows,
                        from,
                    });
                    return;
                }
            }
            _ => {}
        }
        if allows {
            notes.remark(from, "who is not refused by a rule is accepted");
            return;
        }
        let mut route_terms = Vec::new();
        for term in terms {
            let tests: Option<Vec<_>> = term
                .any
                .iter()
                .map(|asked| match asked {
                    Route(test) => Some(test.clone()),
                    _ => None,
                })
                .collect();
            let Some(any) = tests else {
                return self.lose(
                    false,
                    from,
                    "a rule asks for sources, or for what a route can ask for",
                    notes,
                );
            };
            let is_negated = term.is_negated;
            route_terms.push(RouteTerm { any, is_negated });
        }
        self.routes.push(Rule {
            terms: route_terms,
            target: Target::Reject,
            from: from.clone(),
        });
    }

    /// More connections of a source than so many in the period of a table are refused.
    fn rate(&mut self, count: u64, from: &Origin, proxy: &Proxy, notes: &mut Notes) {
        let table = proxy.last.get("stick-table");
        let period = table.and_then(|line| {
            let store = line.words.iter().find(|word| word.contains("conn_rate("))?;
            let (_, rest) = store.split_once("conn_rate(")?;
            time::parse(rest.split_once(')')?.0)
        });
        let Some(period) = period.filter(|period| !period.is_zero()) else {
            return notes.lose(from, "its table stands elsewhere, and says over which time it counts; set `max_rate_per_source`");
        };
        let a_second = u128::from(count) * 1_000 / period.as_millis().max(1);
        let a_second = u64::try_from(a_second).unwrap_or(u64::MAX).max(1);
        self.keys.set("max_rate_per_source", a_second, from);
        self.keys.set("burst_per_source", count.max(1), from);
        notes.remark(
            from,
            format!("{count} connections in {period:?} come out as {a_second} a second and {count} at once; those that are refused don't count"),
        );
    }

    fn expect_proxy(
        &mut self,
        condition: Result<Condition, String>,
        from: &Origin,
        notes: &mut Notes,
    ) {
        let trusted = match condition.as_deref() {
            Ok([terms]) if terms.is_empty() => Some(Vec::new()),
            Ok([terms]) => match &terms[..] {
                [term] if !term.is_negated => match &term.any[..] {
                    [Asked::Route(Test::Source(networks))] => Some(networks.clone()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        let Some(trusted) = trusted else {
            notes.lose(
                from,
                "who announces clients is known by networks (`trusted`)",
            );
            self.is_open.get_or_insert_with(|| from.clone());
            return;
        };
        self.keys.set("accept_proxy_protocol", "required", from);
        if !trusted.is_empty() {
            let trusted: Vec<_> = trusted.iter().map(access::written).collect();
            self.keys.set(
                "trusted",
                trusted.into_iter().collect::<super::super::value::Value>(),
                from,
            );
            self.keys.set("untrusted", "plain", from);
        }
    }
}
