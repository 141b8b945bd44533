//! Findings that stay for a while, so that one whose figure is near its limit doesn't come and go.

use std::time::{Duration, SystemTime};

use super::found::{Found, Subject};
use super::tense::Told;
use crate::sampling::recent::RECENT;
use proxy_state::{Finding, Level};

/// How long a finding stays, and its level, after it was last true.
pub(crate) const HOLD: Duration = RECENT;

/// A finding that was true this long ago is over. What happens less often than once in this time is not there all of it.
const OVER_MIN: Duration = Duration::from_secs(3);

/// What was found lately.
#[derive(Debug, Default)]
pub(crate) struct Held {
    kept: Vec<Kept>,
}

/// One subject that something was found about.
#[derive(Debug)]
struct Kept {
    subject: Subject,
    /// The last one, with the level that is shown.
    told: Told,
    /// When it was last true, since the start.
    last: Duration,
    /// When it was last as urgent as it is shown.
    level_last: Duration,
}

impl Held {
    /// Takes what is found at `at`. Returns what is to be shown, in no order.
    pub(super) fn on_sample(
        &mut self,
        found: Vec<Found>,
        at: Duration,
        now: SystemTime,
    ) -> Vec<Finding> {
        self.kept
            .retain(|kept| at.saturating_sub(kept.last) < HOLD && !kept.subject.ends_at_once());
        let mut calm = Vec::new();
        let mut fresh = Vec::new();
        for found in found {
            if found.told.now.level == Level::Good {
                calm.push(found);
            } else if at.saturating_sub(found.last) < HOLD {
                fresh.push(found.subject);
                self.keep(found, at, now);
            }
        }
        // What is good of a subject isn't said as long as something else of it is.
        calm.retain(|good| self.kept.iter().all(|kept| kept.subject != good.subject));
        let calm = calm.into_iter().map(|found| found.told.now);
        let kept = self.kept.iter().map(|kept| {
            let over = at.saturating_sub(kept.last) >= OVER_MIN;
            // A figure is of the past as soon as another one has taken its place.
            let is_past = over || !fresh.contains(&kept.subject);
            let told = if is_past {
                &kept.told.past
            } else {
                &kept.told.now
            };
            Finding {
                over,
                level: kept.told.now.level,
                since: kept.told.now.since,
                ..told.clone()
            }
        });
        kept.chain(calm).collect()
    }

    fn keep(&mut self, found: Found, at: Duration, now: SystemTime) {
        let Found {
            subject,
            mut told,
            last,
        } = found;
        let finding = &mut told.now;
        let place = self.kept.iter().position(|kept| kept.subject == subject);
        let known = place.map(|place| self.kept.remove(place));
        let mut level_last = last;
        if let Some(known) = known {
            let before = known.told.now;
            // The words are those of now; the level goes down only after a while.
            if before.level < finding.level && at.saturating_sub(known.level_last) < HOLD {
                finding.level = before.level;
                level_last = known.level_last;
            }
            finding.since = finding.since.or(before.since);
        }
        let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH);
        finding.since = finding
            .since
            .or_else(|| Some(unix(now).ok()?.as_secs_f64().round()));
        self.kept.push(Kept {
            subject,
            told,
            last,
            level_last,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(level: Level, what: &str, at: u64) -> Found {
        let told = Told::of(|tense| Finding {
            level,
            what: format!("{what}{}", tense.choose("", " then")),
            ..Finding::default()
        });
        Found {
            subject: Subject::Balance,
            told,
            last: Duration::from_secs(at),
        }
    }

    /// What is shown at each second of what was found then.
    fn shown(each: &[(u64, Level, &str)]) -> Vec<(Level, String, bool, Option<f64>)> {
        let mut held = Held::default();
        let look = |&(second, level, what): &(u64, Level, &str)| {
            let at = Duration::from_secs(second);
            let now = SystemTime::UNIX_EPOCH + at;
            let findings = held.on_sample(vec![found(level, what, second)], at, now);
            assert_eq!(findings.len(), 1, "{findings:?}");
            let finding = findings[0].clone();
            (finding.level, finding.what, finding.over, finding.since)
        };
        each.iter().map(look).collect()
    }

    #[test]
    fn what_comes_and_goes_stays() {
        use Level::{Good, Warning};
        let shown = shown(&[
            (1, Warning, "at 61 %"),
            (2, Good, "even"),
            (3, Warning, "at 62 %"),
            (4, Good, "even"),
            (7, Good, "even"),
            (12, Good, "even"),
            (13, Good, "even"),
            (14, Warning, "at 63 %"),
        ]);
        let warning = |what: &str, over, since| (Warning, what.to_owned(), over, Some(since));
        let wanted = [
            warning("at 61 %", false, 1.0),
            warning("at 61 % then", false, 1.0),
            warning("at 62 %", false, 1.0),
            warning("at 62 % then", false, 1.0),
            warning("at 62 % then", true, 1.0),
            warning("at 62 % then", true, 1.0),
            (Good, "even".to_owned(), false, None),
            warning("at 63 %", false, 14.0),
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn the_words_are_of_now_and_the_level_goes_down_late() {
        use Level::{Alarm, Warning};
        let shown = shown(&[
            (1, Warning, "1 is down"),
            (2, Alarm, "2 are down"),
            (3, Warning, "1 is down"),
            (11, Warning, "1 is down"),
            (12, Warning, "1 is down"),
        ]);
        let levels: Vec<_> = shown.iter().map(|shown| shown.0).collect();
        assert_eq!(levels, [Warning, Alarm, Alarm, Alarm, Warning]);
        assert_eq!(shown[2].1, "1 is down");
        assert!(shown.iter().all(|shown| shown.3 == Some(1.0) && !shown.2));
    }

    #[test]
    fn what_is_a_fact_ends_at_once() {
        let mut held = Held::default();
        let mut refused = found(Level::Warning, "not reloaded", 1);
        refused.subject = Subject::Reload;
        let at = Duration::from_secs(1);
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(held.on_sample(vec![refused], at, now).len(), 1);
        assert_eq!(held.on_sample(Vec::new(), at, now), []);
    }
}
