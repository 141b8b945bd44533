//! The table, and how its figures came about.

use std::fmt::Write as _;
use std::time::Duration;

use super::Kind;
use super::arrived::LOOK_EVERY;
use super::contestant::Contestant;
use super::faults::Faults;
use super::turn::{Figures, LATE, Outcome};
use crate::cli::ChangeArgs;
use crate::spread::Spread;
use crate::sys::Priority;

/// The turns of one contestant, and why one was not taken if one wasn't.
pub(super) struct Row {
    pub(super) contestant: Contestant,
    pub(super) taken: Vec<Figures>,
    pub(super) not_taken: Option<String>,
}

impl Row {
    pub(super) fn new(contestant: Contestant) -> Self {
        Self {
            contestant,
            taken: Vec::new(),
            not_taken: None,
        }
    }

    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Taken(figures) => self.taken.push(*figures),
            Outcome::NotTaken(reason) => self.not_taken = Some(reason),
        }
    }

    fn text(&self) -> String {
        let Self {
            contestant, taken, ..
        } = self;
        let change = match contestant {
            Contestant::Switch { .. } => "switch",
            _ => "reload",
        };
        let mut text = format!("| {contestant} | {change} |");
        if taken.is_empty() {
            let reason = self.not_taken.as_deref().unwrap_or("no turn succeeded");
            let _ = writeln!(text, " not taken: {reason} |{}", " – |".repeat(12));
            return text;
        }
        let spread = |digits: usize, figure: &dyn Fn(&Figures) -> f64| {
            let spread = Spread::of(taken.iter().map(figure));
            spread.map_or("–".to_owned(), |spread| spread.text(digits))
        };
        let worst = taken.iter().map(|one| one.during.max).max();
        let _ = write!(
            text,
            " {} | {} | {} | {} | {} | {:.1} |",
            spread(0, &|one| ms(one.until)),
            spread(1, &|one| ms(one.before.p99)),
            spread(1, &|one| ms(one.before.max)),
            spread(1, &|one| ms(one.during.p99)),
            spread(1, &|one| ms(one.during.max)),
            ms(worst.unwrap_or_default()),
        );
        for kind in [Kind::Arrivals, Kind::Idle, Kind::Busy, Kind::Transfers] {
            let mut faults = Faults::default();
            for one in taken {
                faults.merge(one.faults[kind as usize]);
            }
            let _ = write!(text, " {faults} |");
        }
        let moved = taken.iter().filter_map(|one| one.moved);
        let moved =
            Spread::of(moved).map_or("–".to_owned(), |moved| format!("{:.0}", moved.median));
        let left = spread(0, &|one| one.left as f64);
        let foreign = median_percent(taken.iter().map(|one| one.foreign));
        let _ = writeln!(text, " {left} | {moved} | {foreign} |");
        if let Some(reason) = &self.not_taken {
            let _ = writeln!(
                text,
                "| {contestant}, another turn | {change} | not taken: {reason} |{}",
                " – |".repeat(12)
            );
        }
        text
    }
}

/// The table of all contestants.
pub(super) fn table(args: &ChangeArgs, rows: &[Row]) -> String {
    let ChangeArgs {
        rounds,
        window,
        idle,
        busy,
        every,
        arrivals,
        transfers,
        pace,
        ..
    } = args;
    let mut text = format!(
        "### Change\n\n{idle} idle connections, {busy} busy ones with a message of 64 bytes every {every} ms, {arrivals} new \
         ones a second, and {transfers} transfers of {pace} MB a second each, while the proxy takes a new configuration \
         (a longer idle timeout and one more server) or another scheduler. Pauses are in ms, of the busy connections, in \
         {window} s before and {window} s from the signal on. Medians (quartiles) of {rounds} interleaved rounds; the worst, and \
         connections that failed, are of all rounds together.\n\n\
         | contestant | change | until done, ms | longest pause before: p99 | max | longest pause in the change: p99 | max | \
         worst | failed: new | idle | busy | transfers | left with the old process | moved | others on its CPU |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for row in rows {
        text.push_str(&row.text());
    }
    text
}

/// What the figures rest on.
pub(super) fn notes(args: &ChangeArgs, rows: &[Row]) -> String {
    let turns = || rows.iter().flat_map(|row| &row.taken);
    let mut text = String::from("\n");
    if let Some(one) = turns().next() {
        let megabytes = one.bytes as f64 / 1e6 / f64::from(args.transfers.max(1));
        let _ = write!(
            text,
            "Of a turn: {} new connections, and {megabytes:.0} MB a transfer, compared by SHA-256. ",
            one.arrivals
        );
    }
    let _ = writeln!(
        text,
        "A pause is the longest time that a connection waited for an echo, counted from when its message was due; p99 and max \
         are over the connections. Late is what took {} ms or more. Corelane is done when its metrics say so, HAProxy and nginx \
         when there is a new worker process and a connection that begins then is answered; both are looked at every {} ms. \
         Left are the connections that the old process still served 2 s after the signal; corelane has one process.",
        LATE.as_millis(),
        LOOK_EVERY.as_millis()
    );
    if turns().any(|one| one.priority != Priority::RealTime) {
        text.push_str(
            "The busy connections' thread of the load generator has no real-time priority (no privilege for SCHED_FIFO): \
             pauses are partly its own.\n",
        );
    }
    text
}

/// The median of parts of a time.
pub(super) fn median_percent(parts: impl Iterator<Item = f64>) -> String {
    let parts = Spread::of(parts.map(|part| part * 100.0));
    format!("{:.0} %", parts.map_or(0.0, |parts| parts.median))
}

pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::faults::Fault;
    use crate::change::pauses::Pauses;

    fn figures(max: u64) -> Figures {
        let pauses = |max| Pauses {
            p99: Duration::from_millis(1),
            max: Duration::from_millis(max),
        };
        let mut faults = [Faults::default(); 4];
        faults[Kind::Arrivals as usize].add(Fault::Reset);
        Figures {
            until: Duration::from_millis(40),
            left: 7,
            moved: None,
            arrivals: 100,
            bytes: 1,
            faults,
            before: pauses(2),
            during: pauses(max),
            foreign: 0.25,
            priority: Priority::RealTime,
        }
    }

    #[test]
    fn a_row_has_the_medians_the_worst_and_all_that_failed() {
        let mut row = Row::new(Contestant::Haproxy);
        for max in [10, 30, 20] {
            row.add(Outcome::Taken(Box::new(figures(max))));
        }
        assert_eq!(
            row.text(),
            "| haproxy | reload | 40 (40–40) | 1.0 (1.0–1.0) | 2.0 (2.0–2.0) | 1.0 (1.0–1.0) | 20.0 (15.0–25.0) | 30.0 | \
             3 reset | 0 | 0 | 0 | 7 (7–7) | – | 25 % |\n"
        );
    }

    #[test]
    fn a_change_that_is_not_taken_is_a_row_as_wide() {
        let mut row = Row::new(Contestant::Nginx);
        row.add(Outcome::NotTaken("refused".to_owned()));
        let text = row.text();
        assert!(
            text.starts_with("| nginx | reload | not taken: refused |"),
            "{text}"
        );
        row.taken.push(figures(1));
        let both = row.text();
        let widths: Vec<usize> = both.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(widths, [16, 16]);
        assert_eq!(text.matches('|').count(), 16);
    }
}
