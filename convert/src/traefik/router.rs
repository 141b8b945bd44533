//! Routers: what they ask for, and where they lead.

use super::super::intersection::Condition;
use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::tree::View;
use super::rule::{self, Rule};
use super::service::{Services, To};
use super::{lose_others, without_provider};

/// A router that was read.
pub(super) struct Router {
    pub(super) name: String,
    pub(super) from: Origin,
    /// The entry points; all of them if there are none.
    entries: Vec<String>,
    pub(super) is_tls: bool,
    pub(super) priority: i64,
    alternatives: Vec<Vec<Condition>>,
    pub(super) to: To,
    /// Who may connect, if not everybody.
    allowed: Option<Vec<String>>,
    /// Connections of each source.
    pub(super) in_flight: Option<(u64, Origin)>,
}

/// Some connections, and where they go.
pub(super) type Case = super::super::case::Case<To>;

impl Router {
    /// Reads a router, unless it is of no use here.
    pub(super) fn read<'n>(
        name: &str,
        view: &View<'n>,
        middlewares: &[(&'n str, View<'n>)],
        services: &mut Services<'n>,
        notes: &mut Notes,
    ) -> Option<Self> {
        let from = view.from();
        let rule = view.text_of("rule").unwrap_or_default();
        let tls = view.view("tls");
        let said = view
            .view("rule")
            .map_or_else(|| from.clone(), |rule| rule.from());
        let read = rule::read(rule).and_then(|read| match tls.is_none() && read.asks_of_tls() {
            true => Err(
                "without `tls` Traefik takes no rule that asks for a name or a protocol of TLS"
                    .to_owned(),
            ),
            false => Ok(read),
        });
        let Rule {
            alternatives,
            is_rest,
            is_wider,
        } = match read {
            Ok(read) => read,
            Err(why) => {
                notes.lose(&said, format!("the router is left out: {why}"));
                view.pass_over();
                return None;
            }
        };
        if is_wider {
            notes.lose(
                &said,
                "a `*` of a route is any number of labels, so names are taken that the rule doesn't mean",
            );
        }
        let target = match &tls {
            Some(tls) if !tls.is_true("passthrough") => Err(
                "TLS is not ended here; let the servers end it, and write `passthrough`".to_owned(),
            ),
            _ => services.lead(view.text_of("service").unwrap_or_default(), notes),
        };
        let to = target.unwrap_or_else(|why| {
            notes.lose(
                &from,
                format!("the router is left out, and its clients are refused: {why}"),
            );
            To::Reject
        });
        let priority = view
            .text_of("priority")
            .and_then(|priority| priority.parse().ok())
            .filter(|priority| *priority != 0);
        let length = i64::try_from(rule.len()).unwrap_or(i64::MAX);
        let mut router = Self {
            name: name.to_owned(),
            from: from.clone(),
            entries: view
                .items_of("entryPoints")
                .iter()
                .filter_map(|entry| entry.text().map(str::to_owned))
                .collect(),
            is_tls: tls.is_some(),
            // ``HostSNI(`*`)`` comes last unless it has a priority.
            priority: priority.unwrap_or(if is_rest { -1 } else { length }),
            alternatives,
            to,
            allowed: None,
            in_flight: None,
        };
        for used in view.items_of("middlewares") {
            let name = without_provider(used.text().unwrap_or_default());
            match middlewares.iter().find(|(found, _)| *found == name) {
                Some((_, middleware)) => router.apply(middleware, notes),
                None => router.refuse(
                    &used.from(),
                    "there is no such middleware in the files",
                    notes,
                ),
            }
        }
        lose_others(
            view,
            &[
                "rule",
                "service",
                "tls",
                "priority",
                "entryPoints",
                "middlewares",
                "ruleSyntax",
                "observability",
            ],
            "corelane has nothing like it for a route",
            notes,
        );
        Some(router)
    }

    fn apply(&mut self, middleware: &View<'_>, notes: &mut Notes) {
        let list = middleware
            .view("ipAllowList")
            .or_else(|| middleware.view("ipWhiteList"));
        if let Some(list) = list {
            let ranges = list.items_of("sourceRange");
            let ranges: Vec<_> = ranges
                .iter()
                .filter_map(|range| range.text().map(str::to_owned))
                .collect();
            let asks = |all: &Vec<Condition>| all.iter().any(|(key, _)| *key == "source");
            if self.allowed.take().is_some()
                || ranges.is_empty()
                || self.alternatives.iter().any(asks)
            {
                let why = "a route has one list of networks, by `ClientIP` or by one middleware";
                return self.refuse(&list.from(), why, notes);
            }
            self.allowed = Some(ranges);
            return;
        }
        let amount = middleware.at(&["inFlightConn", "amount"]);
        match amount
            .as_ref()
            .and_then(|amount| Some((amount.text()?.parse().ok()?, amount.from())))
        {
            Some(limit) => self.in_flight = Some(limit),
            None => self.refuse(
                &middleware.from(),
                "it is neither ipAllowList nor inFlightConn",
                notes,
            ),
        }
    }

    /// Without what keeps clients out, a router would let in more.
    fn refuse(&mut self, from: &Origin, why: &str, notes: &mut Notes) {
        notes.lose(
            from,
            format!(
                "the clients of the router {:?} are refused: {why}",
                self.name
            ),
        );
        self.to = To::Reject;
    }

    /// Whether it is one of an entry point, which may be one of those for routers that name none.
    pub(super) fn is_at(&self, entry: &str, is_default: bool) -> bool {
        match self.entries.is_empty() {
            true => is_default,
            false => self.entries.iter().any(|name| name == entry),
        }
    }

    /// The entry points that it names.
    pub(super) fn entries(&self) -> &[String] {
        &self.entries
    }

    /// Its cases, in order.
    pub(super) fn cases(&self) -> Vec<Case> {
        let case = |conditions, to: &To| Case {
            conditions,
            to: to.clone(),
            from: self.from.clone(),
        };
        let mut cases = Vec::new();
        for all in &self.alternatives {
            let mut conditions = all.clone();
            conditions.retain(|(key, values)| *key != "sni" || values != &["*"]);
            match &self.allowed {
                None => cases.push(case(conditions, &self.to)),
                Some(allowed) => {
                    // Those that are allowed come first, and then nobody.
                    let mut inside = conditions.clone();
                    inside.push(("source", allowed.clone()));
                    cases.push(case(inside, &self.to));
                    cases.push(case(conditions, &To::Reject));
                }
            }
        }
        cases
    }
}
