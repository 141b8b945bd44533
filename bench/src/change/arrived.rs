//! Finding out that a change has arrived, or that it wasn't taken.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::Kind;
use super::contestant::Contestant;
use super::message::{BYTES, message};
use crate::admin::scrape;
use crate::proxy::Proxy;
use crate::system::Scheduler;

/// Between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a change may take.
pub(super) const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// How long a fresh connection may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The number of the fresh connection's message, which no other one has.
const FRESH: u64 = 1 << 40;
/// Characters of a reason that are shown.
const REASON_MAX: usize = 160;

/// What came of a change.
#[derive(Debug)]
pub(super) enum Arrived {
    /// So long after the signal.
    After(Duration),
    /// The proxy goes on as before, and why.
    NotTaken(String),
}

/// What a proxy was before it was told.
pub(super) enum Watch {
    /// Its processes.
    Processes(Vec<Pid>),
    /// Its metrics, and where they are.
    Metrics(SocketAddr, Shown),
}

impl Watch {
    /// Looks at `proxy` before it is told.
    pub(super) fn begin(
        contestant: Contestant,
        proxy: &mut Proxy,
        admin: SocketAddr,
    ) -> anyhow::Result<Self> {
        Ok(match contestant {
            Contestant::Haproxy | Contestant::Nginx => Self::Processes(proxy.find()),
            Contestant::Reload(_) | Contestant::Switch { .. } => {
                Self::Metrics(admin, Shown::of(&scrape(admin)?))
            }
        })
    }

    /// Waits until the change has arrived that was asked for at `signalled`.
    pub(super) fn wait(
        &self,
        contestant: Contestant,
        proxy: &mut Proxy,
        signalled: Instant,
    ) -> Arrived {
        loop {
            let seen = match self {
                Self::Processes(before) => Self::replaced(before, proxy),
                Self::Metrics(admin, before) => match scrape(*admin) {
                    Ok(text) => Shown::of(&text).since(before, contestant),
                    // The admin server may start again, too.
                    Err(_) => Seen::Nothing,
                },
            };
            match seen {
                Seen::Nothing if signalled.elapsed() < ARRIVAL_MAX => {}
                Seen::Nothing => {
                    let said = reason(&proxy.said());
                    return Arrived::NotTaken(format!(
                        "not there after {ARRIVAL_MAX:?}{}{said}",
                        self.now()
                    ));
                }
                Seen::Change => return Arrived::After(signalled.elapsed()),
                Seen::Refusal => {
                    return Arrived::NotTaken(format!("refused{}", reason(&proxy.said())));
                }
            }
            sleep(LOOK_EVERY);
        }
    }

    /// What runs now, where there are metrics.
    fn now(&self) -> String {
        let Self::Metrics(admin, before) = self else {
            return String::new();
        };
        let Ok(now) = scrape(*admin).map(|text| Shown::of(&text)) else {
            return ": no metrics".to_owned();
        };
        let over = now.switched.saturating_sub(before.switched);
        let Shown {
            scheduler, mode, ..
        } = now;
        format!(": {scheduler} ({mode}) runs, {over} switches are over")
    }

    /// Whether there is a new worker, and a connection that begins now is answered.
    fn replaced(before: &[Pid], proxy: &mut Proxy) -> Seen {
        let is_new = |pid: &Pid| !before.contains(pid);
        let listen = proxy.listens[Kind::Arrivals as usize];
        if proxy.find().iter().any(is_new) && is_answered(listen) {
            Seen::Change
        } else {
            Seen::Nothing
        }
    }
}

/// Whether a new connection is.
pub(super) fn is_answered(listen: SocketAddr) -> bool {
    let echo = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&listen, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let sent = message(FRESH, 0);
        stream.write_all(&sent)?;
        let mut received = [0; BYTES];
        stream.read_exact(&mut received)?;
        Ok(received == sent)
    };
    echo().unwrap_or(false)
}

/// What a look shows.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Change,
    Refusal,
}

/// What corelane's metrics say of its configuration and its scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// When the configuration was last taken, as it is written.
    taken_at: String,
    is_taken: bool,
    scheduler: String,
    mode: String,
    /// Switches that are over, and those that failed.
    switched: u64,
    failed: u64,
}

impl Shown {
    fn of(metrics: &str) -> Self {
        let value = |name: &str| {
            let mut lines = metrics.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let info = metrics
            .lines()
            .find(|line| line.starts_with("corelane_runtime_info{"));
        let label = |name: &str| {
            let (_, rest) = info?.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        Self {
            taken_at: value("corelane_config_last_reload_timestamp_seconds")
                .unwrap_or_default()
                .to_owned(),
            is_taken: value("corelane_config_last_reload_success") == Some("1"),
            scheduler: label("scheduler").unwrap_or_default(),
            mode: label("mode").unwrap_or_default(),
            switched: switches(metrics, "success"),
            failed: switches(metrics, "failure"),
        }
    }

    /// What has come of `contestant`'s change since `before`.
    fn since(&self, before: &Self, contestant: Contestant) -> Seen {
        if !self.is_taken || self.failed > before.failed {
            return Seen::Refusal;
        }
        let is_there = match contestant {
            // The new scheduler shows up when it begins, and the switch counts when the old one has ended.
            Contestant::Switch { to, .. } => self.runs(to) && self.switched > before.switched,
            _ => self.taken_at != before.taken_at,
        };
        if is_there {
            Seen::Change
        } else {
            Seen::Nothing
        }
    }

    fn runs(&self, scheduler: Scheduler) -> bool {
        let (name, mode) = scheduler.names();
        self.scheduler == name && mode.is_none_or(|mode| self.mode == mode)
    }
}

/// Switches between any two schedulers that had this result.
fn switches(metrics: &str, result: &str) -> u64 {
    let result = format!("result=\"{result}\"");
    let counts = metrics.lines().filter_map(|line| {
        let (labels, count) = line
            .strip_prefix("corelane_runtime_switches_total{")?
            .split_once("} ")?;
        labels
            .contains(&result)
            .then(|| count.parse::<u64>().ok())?
    });
    counts.sum()
}

/// Live connections of corelane's that have moved to another scheduler, by now.
pub(super) fn moved(admin: SocketAddr) -> Option<f64> {
    let text = scrape(admin).ok()?;
    let mut lines = text.lines();
    let value =
        lines.find_map(|line| line.strip_prefix("corelane_runtime_moved_connections_total "));
    value?.parse().ok()
}

/// The last thing that a proxy complained of, fit for a cell of a table.
fn reason(said: &str) -> String {
    let complaint = |line: &&str| line.contains("ERROR") || line.contains("WARN");
    let Some(line) = said.lines().rev().find(complaint) else {
        return String::new();
    };
    // Without the time and the place in the program.
    let text = line.split_once("ERROR").map_or(line, |(_, text)| text);
    let text: String = text
        .trim()
        .replace('|', "/")
        .chars()
        .take(REASON_MAX)
        .collect();
    format!(": {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE corelane_runtime_info gauge\n\
        corelane_runtime_info{scheduler=\"tokio\",mode=\"per-core\",pinned=\"true\"} 1\n\
        corelane_config_last_reload_success 1\n\
        corelane_config_last_reload_timestamp_seconds 1700000000.25\n";

    #[test]
    fn the_metrics_say_what_came_of_a_change() {
        let before = Shown::of(METRICS);
        assert!(before.runs(Scheduler::PerCore) && !before.runs(Scheduler::WorkStealing));
        let reload = Contestant::Reload(Scheduler::PerCore);
        let switch = Contestant::Switch {
            from: Scheduler::PerCore,
            to: Scheduler::Glommio,
        };
        for contestant in [reload, switch] {
            assert_eq!(before.since(&before, contestant), Seen::Nothing);
        }
        let later = Shown::of(&METRICS.replace("000.25", "001.5"));
        assert_eq!(later.since(&before, reload), Seen::Change);
        // The file was read, and the scheduler goes on.
        assert_eq!(later.since(&before, switch), Seen::Nothing);
        let begun = METRICS
            .replace("tokio", "glommio")
            .replace("per-core", "thread-per-core");
        assert_eq!(Shown::of(&begun).since(&before, switch), Seen::Nothing);
        let over = |result: &str| {
            let labels = format!("from=\"per-core\",to=\"glommio\",result=\"{result}\"");
            let text = format!("{begun}corelane_runtime_switches_total{{{labels}}} 1\n");
            Shown::of(&text).since(&before, switch)
        };
        assert_eq!(over("success"), Seen::Change);
        assert_eq!(over("failure"), Seen::Refusal);
        let refused = Shown::of(&METRICS.replace("success 1", "success 0"));
        assert_eq!(refused.since(&before, reload), Seen::Refusal);
    }

    #[test]
    fn the_last_complaint_is_the_reason() {
        let said = "x ERROR a: first\nx INFO fine\nx ERROR corelane: second | third\nx INFO fine\n";
        assert_eq!(reason(said), ": corelane: second / third");
        assert_eq!(reason("nothing"), "");
    }
}
