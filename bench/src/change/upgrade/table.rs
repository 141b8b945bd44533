//! The table, and how its figures came about.

use std::fmt::Write as _;
use std::time::Duration;

use super::contestant::Contestant;
use super::turn::Figures;
use crate::change::faults::Faults;
use crate::change::pauses::Pauses;
use crate::change::table::{median_percent, ms};
use crate::change::turn::LATE;
use crate::cli::UpgradeArgs;
use crate::spread::Spread;
use crate::sys::Priority;

/// Columns after the names.
const COLUMNS: usize = 14;

/// The turns of one contestant, and why there are none if it has none.
pub(super) struct Row {
    pub(super) contestant: Contestant,
    pub(super) turns: Vec<Figures>,
    pub(super) skipped: Option<String>,
}

impl Row {
    pub(super) fn new(contestant: Contestant) -> Self {
        Self {
            contestant,
            turns: Vec::new(),
            skipped: None,
        }
    }

    fn text(&self) -> String {
        let Self {
            contestant, turns, ..
        } = self;
        let mut text = format!("| {contestant} |");
        if turns.is_empty() {
            let reason = self.skipped.as_deref().unwrap_or("no turn succeeded");
            let _ = writeln!(text, " skipped: {reason} |{}", " – |".repeat(COLUMNS - 1));
            return text;
        }
        let sum = |of: fn(&Figures) -> [u32; 2]| {
            let mut sums = [0; 2];
            for turn in turns {
                let more = of(turn);
                (sums[0], sums[1]) = (sums[0] + more[0], sums[1] + more[1]);
            }
            sums
        };
        let ([up, back], [all_up, all_back]) = (sum(|turn| turn.done), sum(|turn| turn.of));
        let not_taken = turns.iter().find_map(|turn| turn.not_taken.as_deref());
        let not_taken = not_taken.map_or(String::new(), |reason| format!("; then {reason}"));
        let _ = write!(
            text,
            " {up} of {all_up} | {back} of {all_back}{not_taken} |"
        );
        let took = Spread::of(turns.iter().flat_map(|turn| &turn.took).copied().map(ms));
        let took = took.map_or("–".to_owned(), |took| took.text(0));
        let _ = write!(
            text,
            " {took} | {} | {} |",
            longest(turns, |turn| turn.transfers),
            longest(turns, |turn| turn.arrivals),
        );
        for kind in 0..turns[0].faults.len() {
            let mut faults = Faults::default();
            turns
                .iter()
                .for_each(|turn| faults.merge(turn.faults[kind]));
            let _ = write!(text, " {faults} |");
        }
        let left = turns.iter().map(|turn| turn.left).max().unwrap_or_default();
        let left = match left {
            [0, _] => "0".to_owned(),
            [processes, connections] => format!("{connections} with {processes}"),
        };
        let foreign = median_percent(turns.iter().map(|turn| turn.foreign));
        let _ = writeln!(text, " {left} | {foreign} |");
        text
    }
}

/// The longest pauses of all turns, in three cells: before, and in the upgrades those of all but a hundredth, and of all.
fn longest(turns: &[Figures], of: fn(&Figures) -> [Pauses; 2]) -> String {
    let worst = |figure: fn([Pauses; 2]) -> Duration| {
        let longest = turns.iter().map(|turn| figure(of(turn))).max();
        ms(longest.unwrap_or_default())
    };
    let before = worst(|[before, _]| before.max);
    let (p99, max) = (
        worst(|[_, during]| during.p99),
        worst(|[_, during]| during.max),
    );
    format!("{before:.1} | {p99:.1} | {max:.1}")
}

/// The table of all contestants.
pub(super) fn table(args: &UpgradeArgs, rows: &[Row]) -> String {
    let UpgradeArgs {
        rounds,
        connections,
        transfers,
        pace,
        arrivals,
        steps,
        drain,
        window,
        ..
    } = args;
    let mut text = format!(
        "### Upgrade\n\n{connections} idle connections, {transfers} transfers of {pace} kB a second each, and {arrivals} new \
         connections a second, while the proxy is replaced by a new process {steps} times, with {window} s between; every third \
         time it goes back to the program of before. {rounds} rounds: pauses are the longest of all, in ms, and connections that \
         failed are of all together.\n\n\
         | proxy | upgrades | rollbacks | one took, ms | longest pause of a transfer before | in the upgrades: p99 | max | \
         longest wait of a new connection before | in the upgrades: p99 | max | failed: new | idle | transfers | \
         stranded with old processes | others on its CPU |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for row in rows {
        text.push_str(&row.text());
    }
    let _ = write!(
        text,
        "\nA transfer pauses from when bytes of it were sent until the next ones come back, compared by SHA-256 at its end; a new \
         connection waits from when it was due until its echo is here. Closed and reset are connections that were lost, refused \
         those that nobody took, wrong those that got other bytes than were sent, and late those that had no answer within {} ms. \
         An upgrade of corelane is `corelane upgrade BINARY`, and took as long as that command; HAProxy's is SIGUSR2 to its \
         master, nginx's SIGUSR2 and then SIGQUIT to the old master, Envoy's a process of the next restart epoch, and these took \
         until there was a new process and a connection that began then was answered. Their old processes have {drain} s for the \
         connections that they have (`hard-stop-after`, `worker_shutdown_timeout`, `--parent-shutdown-time-s`), and the next \
         upgrade waits for their end; without a limit the connections stay with them: stranded are those that old processes still \
         served at the end. nginx starts no new master while the one before last is there.\n",
        LATE.as_millis(),
    );
    text
}

/// What the figures rest on.
pub(super) fn notes(rows: &[Row]) -> String {
    let turns = || rows.iter().flat_map(|row| &row.turns);
    let mut text = String::from("\n");
    if let Some(one) = turns().next() {
        let _ = writeln!(
            text,
            "Of the first turn: {} new connections, and {:.0} MB in transfers.",
            one.begun,
            one.bytes as f64 / 1e6
        );
    }
    let still = turns().map(|one| one.still).max().unwrap_or_default();
    if !still.is_zero() {
        let _ = writeln!(
            text,
            "The load generator's own thread of transfers stood still for {:.0} ms at the longest, which is part of no pause.",
            ms(still)
        );
    }
    if turns().any(|one| one.priority != Priority::RealTime) {
        text.push_str(
            "The load generator has no real-time priority (no privilege for SCHED_FIFO): pauses are partly its own.\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::faults::Fault;

    fn figures(max: u64) -> Figures {
        let pauses = |max| Pauses {
            p99: Duration::from_millis(1),
            max: Duration::from_millis(max),
        };
        let mut faults = [Faults::default(); 3];
        faults[1].add(Fault::Reset);
        Figures {
            done: [5, 2],
            of: [5, 2],
            not_taken: None,
            took: vec![Duration::from_millis(40)],
            faults,
            transfers: [pauses(2), pauses(max)],
            arrivals: [pauses(3), pauses(2 * max)],
            begun: 10,
            bytes: 1_000_000,
            still: Duration::ZERO,
            left: [0, 0],
            foreign: 0.5,
            priority: Priority::RealTime,
        }
    }

    #[test]
    fn a_row_has_the_worst_and_all_that_failed() {
        let mut row = Row::new(Contestant::Envoy);
        row.turns.extend([figures(20), figures(10)]);
        row.turns[1].left = [3, 700];
        assert_eq!(
            row.text(),
            "| envoy | 10 of 10 | 4 of 4 | 40 (40–40) | 2.0 | 1.0 | 20.0 | 3.0 | 1.0 | 40.0 | 0 | 2 reset | 0 | 700 with 3 | 50 % |\n"
        );
        row.turns.clear();
        row.skipped = Some("no such package".to_owned());
        let text = row.text();
        assert!(
            text.starts_with("| envoy | skipped: no such package | –"),
            "{text}"
        );
        assert_eq!(text.matches('|').count(), COLUMNS + 2);
    }
}
