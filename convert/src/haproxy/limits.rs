//! How many connections of a source there may be, and how many may come in a time.

use std::collections::HashMap;

use super::super::note::Notes;
use super::super::origin::Origin;
use super::super::plan::Keys;
use super::super::value::Value;
use super::acl::Term;
use super::expression::Asked;
use super::proxy::Proxy;
use super::section::Line;
use super::time;

/// What is known of the counters of HAProxy's that limits go by.
#[derive(Debug, Default)]
pub(super) struct Limits(HashMap<String, Tracked>);

/// What a counter counts.
#[derive(Debug)]
struct Tracked {
    /// Some sources are not counted.
    is_partial: bool,
    is_by_source: bool,
    /// The section whose table it counts in, if it isn't that of the rule.
    table: Option<String>,
}

impl Limits {
    /// `track-sc0 KEY`, or `track-sc0 KEY table SECTION`.
    pub(super) fn track(&mut self, action: &str, arguments: &[&str], is_partial: bool) {
        let counter = action.trim_start_matches("track-sc").to_owned();
        let is_by_source = arguments.first() == Some(&"src");
        let table = match arguments {
            [_, "table", section, ..] => Some((*section).to_owned()),
            _ => None,
        };
        let tracked = self.0.entry(counter).or_insert(Tracked {
            is_partial,
            is_by_source,
            table,
        });
        tracked.is_partial &= is_partial;
        tracked.is_by_source &= is_by_source;
    }

    /// Sets the key of a rule that refuses sources which have too many connections. False if it is none.
    ///
    /// # Errors
    /// Why there is no such key.
    pub(super) fn set(
        &self,
        terms: &[Term],
        are_some_accepted: bool,
        proxy: &Proxy,
        from: &Origin,
        keys: &mut Keys,
        notes: &mut Notes,
    ) -> Result<bool, String> {
        let is_limit =
            |asked: &Asked| matches!(asked, Asked::OpenOfSource(..) | Asked::RateOfSource(..));
        let (limits, others): (Vec<&Term>, Vec<_>) =
            terms.iter().partition(|term| term.any.iter().any(is_limit));
        let [limit] = limits[..] else {
            return Ok(false);
        };
        let [asked] = &limit.any[..] else {
            return Ok(false);
        };
        if limit.is_negated {
            return Ok(false);
        }
        let counted = match asked {
            Asked::OpenOfSource(_, counted) | Asked::RateOfSource(_, counted) => counted,
            _ => return Ok(false),
        };
        let tracked = counted
            .counter
            .as_ref()
            .and_then(|counter| self.0.get(counter));
        if tracked.is_some_and(|tracked| !tracked.is_by_source) {
            return Err("it counts something else than sources".to_owned());
        }
        let asks = |term: &&Term| term.is_negated || !term.any.contains(&Asked::Everybody);
        let is_partial = tracked.is_some_and(|tracked| tracked.is_partial)
            || are_some_accepted
            || others.iter().any(asks);
        if is_partial {
            let why = "some clients are exempt from this limit there, and none is here: it is for all; make a listener of its own for those, or \
                       raise the limit";
            notes.lose(from, why);
        }
        let table = counted.table.as_deref();
        let table = table.or(tracked.and_then(|tracked| tracked.table.as_deref()));
        let table = table.unwrap_or(&proxy.name);
        if table != proxy.name {
            let why = format!(
                "`{table}` counts for every section that tracks in it; here each listener counts its own clients"
            );
            notes.remark(from, why);
        }
        match asked {
            Asked::RateOfSource(count, _) => {
                rate(*count, from, proxy.tables.get(table), keys, notes);
            }
            Asked::OpenOfSource(count, _) => {
                let count = (*count).max(1);
                let key = "max_connections_per_source";
                // The lower one refuses first.
                if !matches!(keys.get(key), Some(Value::Integer(lower)) if *lower <= count) {
                    keys.set(key, count, from);
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

/// More connections of a source than so many in the period of a table are refused.
fn rate(count: u64, from: &Origin, table: Option<&Line>, keys: &mut Keys, notes: &mut Notes) {
    let period = table.and_then(|line| {
        let store = line.words.iter().find(|word| word.contains("conn_rate("))?;
        let (_, rest) = store.split_once("conn_rate(")?;
        time::parse(rest.split_once(')')?.0)
    });
    let Some(period) = period.filter(|period| !period.is_zero()) else {
        let why =
            "no table that is known here says over which time it counts; set `max_rate_per_source`";
        return notes.lose(from, why);
    };
    let a_second = u128::from(count) * 1_000 / period.as_millis().max(1);
    let a_second = u64::try_from(a_second).unwrap_or(u64::MAX).max(1);
    keys.set("max_rate_per_source", a_second, from);
    keys.set("burst_per_source", count.max(1), from);
    notes.remark(
        from,
        format!("{count} connections in {period:?} come out as {a_second} a second and {count} at once; those that are refused don't count"),
    );
}
