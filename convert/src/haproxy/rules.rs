//! `tcp-request`: who may connect, and how often.

use ipnet::IpNet;

use super::super::access;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::routing::Test;
use super::super::value::Value;
use super::acl::{Acls, Condition, Term};
use super::decision::{self, Decision, Verdict};
use super::expression::Asked;
use super::limits::Limits;
use super::proxy::Proxy;
use super::section::Line;
use super::time;

/// What the rules of a proxy come to. Each stage decides of those that the one before it has accepted.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// By what is known as soon as somebody has connected.
    pub(super) connection: Vec<Decision>,
    /// By the client that is announced, where one is.
    pub(super) session: Vec<Decision>,
    /// By what clients say, too.
    pub(super) content: Vec<Decision>,
    /// Other keys of the listener.
    pub(super) keys: Keys,
    /// A rule that keeps clients out can't be carried over: who may connect is not known then.
    pub(super) is_open: Option<Origin>,
}

/// Whose rules are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Listener,
    Backend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connection,
    Session,
    Content,
}

/// Reads all rules of a proxy.
pub(super) fn read(proxy: &Proxy, whose: Whose, acls: &Acls<'_>, notes: &mut Notes) -> Rules {
    let mut reader = Reader {
        proxy,
        whose,
        acls,
        notes,
        rules: Rules::default(),
        limits: Limits::default(),
        announcing: Some(Vec::new()),
    };
    for line in proxy.all("tcp-request") {
        reader.line(line);
    }
    let mut rules = reader.rules;
    for stage in [
        &mut rules.connection,
        &mut rules.session,
        &mut rules.content,
    ] {
        decision::leave_out_idle(stage, notes);
    }
    rules
}

struct Reader<'r> {
    proxy: &'r Proxy,
    whose: Whose,
    acls: &'r Acls<'r>,
    notes: &'r mut Notes,
    rules: Rules,
    limits: Limits,
    /// Who announces clients; nothing once everybody does.
    announcing: Option<Vec<IpNet>>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line) {
        let from = &line.from;
        let words = line.words();
        match words[1..] {
            ["inspect-delay", text] => match time::parse(text) {
                Some(time) if !time.is_zero() => {
                    self.rules.keys.set("prologue_timeout", time, from)
                }
                _ => self.notes.remark(from, "nobody is waited for"),
            },
            [stage, action, ref rest @ ..] => {
                let stage = match (stage, self.whose) {
                    ("content", _) => Stage::Content,
                    ("connection", Whose::Listener) => Stage::Connection,
                    ("session", Whose::Listener) => Stage::Session,
                    // They are those of the listener that this section is, too.
                    ("connection" | "session", Whose::Backend) if self.proxy.is_frontend() => {
                        return;
                    }
                    _ => return self.notes.lose(from, super::useless::UNKNOWN),
                };
                self.action(stage, action, rest, from);
            }
            _ => self.notes.lose(from, super::useless::UNKNOWN),
        }
    }

    fn stage(&mut self, stage: Stage) -> &mut Vec<Decision> {
        match stage {
            Stage::Connection => &mut self.rules.connection,
            Stage::Session => &mut self.rules.session,
            Stage::Content => &mut self.rules.content,
        }
    }

    fn action(&mut self, stage: Stage, action: &str, rest: &[&str], from: &Origin) {
        if self.stage(stage).iter().any(Decision::is_for_everybody) {
            let why = "a rule before it decides for everybody";
            return self.notes.remark(from, why);
        }
        let start = rest
            .iter()
            .position(|word| matches!(*word, "if" | "unless"));
        let (arguments, condition) = rest.split_at(start.unwrap_or(rest.len()));
        let is_conditional = !condition.is_empty();
        let condition = self.acls.condition(condition);
        let verdict = match action {
            "accept" => Verdict::Accept,
            "reject" | "silent-drop" => {
                if action == "silent-drop" {
                    let why = "who is refused is closed, or reset with `over_limit = \"reset\"`";
                    self.notes.remark(from, why);
                }
                Verdict::Reject
            }
            "expect-proxy" => return self.expect_proxy(condition, from),
            _ if action.starts_with("track-sc") => {
                let accepts = self.accepts(stage);
                self.limits
                    .track(action, arguments, is_conditional || accepts);
                let why = "sources are counted where a limit of them asks for it";
                return self.notes.remark(from, why);
            }
            _ if action.starts_with("set-var")
                || action == "capture"
                || action.starts_with("set-dst")
                || action.starts_with("set-src") =>
            {
                let why = "corelane changes nothing that is known of a connection";
                return self.notes.lose(from, why);
            }
            _ => return self.notes.lose(from, super::useless::UNKNOWN),
        };
        match condition {
            Ok(condition) => {
                for terms in condition {
                    if let Err(why) = self.rule(stage, &verdict, terms, from) {
                        self.lose(&verdict, from, &why);
                    }
                }
            }
            Err(why) => self.lose(&verdict, from, &why),
        }
    }

    /// Whether rules of a stage have accepted some already.
    fn accepts(&mut self, stage: Stage) -> bool {
        let mut decisions = self.stage(stage).iter();
        decisions.any(|decision| decision.verdict == Verdict::Accept)
    }

    fn lose(&mut self, verdict: &Verdict, from: &Origin, why: &str) {
        if *verdict == Verdict::Accept {
            let why = format!("{why}. Clients that it accepts go on to the rules after it");
            return self.notes.lose(from, why);
        }
        self.rules.is_open.get_or_insert_with(|| from.clone());
        let what = match self.whose {
            Whose::Listener => "the listener is left out; add `deny` or routes with `reject`",
            Whose::Backend => "all clients of this backend are refused; add routes with `reject`",
        };
        let why = format!("{why}. Clients that it refuses would be let in, so {what}");
        self.notes.lose(from, why);
    }

    /// One alternative of a rule's condition.
    fn rule(
        &mut self,
        stage: Stage,
        verdict: &Verdict,
        terms: Vec<Term>,
        from: &Origin,
    ) -> Result<(), String> {
        if *verdict == Verdict::Reject && self.whose == Whose::Listener {
            let accepts = self.accepts(stage);
            let (keys, proxy) = (&mut self.rules.keys, self.proxy);
            if self
                .limits
                .set(&terms, accepts, proxy, from, keys, self.notes)?
            {
                return Ok(());
            }
        }
        for term in &terms {
            for asked in &term.any {
                let says = |test: &Test| matches!(test, Test::Sni(_) | Test::Alpn(_));
                match asked {
                    Asked::OpenOfSource(..) | Asked::RateOfSource(..) | Asked::AllDown(_) => {
                        return Err(
                            "a rule asks for sources, or for what a route can ask for".to_owned()
                        );
                    }
                    Asked::Hello | Asked::Said | Asked::Silent if stage != Stage::Content => {
                        return Err(NOT_SAID.to_owned());
                    }
                    Asked::Route(test) | Asked::Nearly(test, _)
                        if says(test) && stage != Stage::Content =>
                    {
                        return Err(NOT_SAID.to_owned());
                    }
                    // More would be let in.
                    Asked::Nearly(_, why) if term.is_negated == (*verdict == Verdict::Accept) => {
                        return Err(why.clone());
                    }
                    Asked::Nearly(_, why) => self.notes.lose(from, why.as_str()),
                    _ => {}
                }
            }
        }
        let (verdict, from) = (verdict.clone(), from.clone());
        self.stage(stage).push(Decision {
            terms,
            verdict,
            from,
        });
        Ok(())
    }

    fn expect_proxy(&mut self, condition: Result<Condition, String>, from: &Origin) {
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
        let why = match trusted {
            None => Some("who announces clients is known by networks (`trusted`)"),
            Some(_) if self.accepts(Stage::Connection) => Some(
                "a rule before it accepts some who announce nobody then; say by networks who does (`trusted`)",
            ),
            Some(_) => None,
        };
        if let Some(why) = why {
            self.notes.lose(from, why);
            self.rules.is_open.get_or_insert_with(|| from.clone());
        }
        let trusted = trusted.unwrap_or_default();
        self.announcing = match self.announcing.take() {
            Some(mut all) if !trusted.is_empty() => {
                all.extend(trusted);
                Some(all)
            }
            _ => None,
        };
        let keys = &mut self.rules.keys;
        keys.set("accept_proxy_protocol", "required", from);
        if let Some(trusted) = &self.announcing {
            let trusted = trusted.iter().map(access::written);
            keys.set("trusted", trusted.collect::<Value>(), from);
            keys.set("untrusted", "plain", from);
        } else {
            keys.remove("trusted");
            keys.remove("untrusted");
        }
    }
}

const NOT_SAID: &str = "clients have said nothing yet when this rule is asked";
