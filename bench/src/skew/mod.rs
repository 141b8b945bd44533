//! The skewed load: heavy flows that all land on one core, and light ones on all.
//!
//! A machine with few CPUs, on which the load generator runs as well, has no core that a few flows could fill while
//! the others idle. So it is simulated: each worker may use a part of a CPU only, by its cgroup, and stands for a
//! slower core; together they use less than the CPU that they are on.

mod caps;
mod metrics;
mod place;
mod plot;

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use self::caps::{Caps, PERIOD_US};
use self::metrics::Look;
use crate::admin::await_start;
use crate::cli::SkewArgs;
use crate::load::{Opened, run_opened};
use crate::proxy::{Proxy, Start, free_port};
use crate::sample::Window;
use crate::spread::Spread;
use crate::system::{Scheduler, System, Tuning};
use crate::turn::{Dials, upstreams};
use crate::visit::Duty;
use crate::{docs, prepare, report, versions};

/// The document's section, and the stem of its plot.
const SECTION: &str = "skew";
/// Heavy flows for each worker.
const HEAVY_PER_WORKER: usize = 1;
/// Light connections on each worker.
const LIGHT_PER_WORKER: usize = 16;
/// Messages a second on each of them: little beside a heavy flow, also on a worker that has nothing else to do.
const LIGHT_MESSAGES_PER_SECOND: f64 = 10.0;
/// How long the connections take by which it was seen that the proxy accepts.
const SETTLE: Duration = Duration::from_millis(200);

/// A scheduler, with what it is told of placing connections.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contestant {
    scheduler: Scheduler,
    rebalance: bool,
    tables: String,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rebalance = if self.rebalance { ", rebalancing" } else { "" };
        write!(f, "{}{rebalance}", System::Corelane(self.scheduler))
    }
}

/// Where the heavy flows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Even,
    Skewed,
}

/// One turn.
struct Turn {
    contestant: usize,
    shape: Shape,
    window: Window,
    looks: Vec<Look>,
    migrations: f64,
}

/// Measures what `args` ask for, and prints the table.
pub(crate) fn run(args: &SkewArgs) -> anyhow::Result<()> {
    let place = match caps::place() {
        Ok(place) => place,
        Err(error) => {
            println!("skipped: {error:#}");
            return Ok(());
        }
    };
    let corelane = prepare::corelane(
        args.binary.corelane.as_deref(),
        &[System::Corelane(Scheduler::Glommio)],
    )?;
    let corelane = corelane.as_deref().context("corelane was not built")?;
    let (contestants, refused) = contestants(args, corelane)?;
    prepare::settle(&args.machine)?;

    let (mut turns, mut failures) = (Vec::new(), Vec::new());
    for round in 0..args.turns.measured.rounds {
        for (index, contestant) in contestants.iter().enumerate() {
            for shape in [Shape::Even, Shape::Skewed] {
                match turn(args, corelane, &place, contestant, shape) {
                    Ok((window, looks, migrations)) => turns.push(Turn {
                        contestant: index,
                        shape,
                        window,
                        looks,
                        migrations,
                    }),
                    Err(error) => {
                        failures.push(format!("{contestant}, round {}: {error:#}", round + 1));
                    }
                }
            }
        }
    }

    let mut text = report::head(&versions::describe(&[]));
    let _ = write!(text, "\n{}", table(args, &contestants, &turns));
    if let Some(refused) = refused {
        let _ = writeln!(text, "\nWithout rebalancing under Glommio: {refused}");
    }
    text.push_str(&report::failures(&failures));
    println!("{text}");
    let Some(dir) = &args.machine.out else {
        return Ok(());
    };
    let files = dir.join(docs::FILES);
    std::fs::create_dir_all(&files).with_context(|| format!("creating {}", files.display()))?;
    let name = format!("{SECTION}.svg");
    let lines = contestants.iter().enumerate().map(|(index, contestant)| {
        let own = turns
            .iter()
            .filter(|turn| turn.contestant == index && turn.shape == Shape::Skewed);
        (contestant, mean(own.map(|turn| turn.looks.as_slice())))
    });
    plot::draw(
        &files.join(&name),
        args.workers,
        args.turns.warmup,
        &lines.collect::<Vec<_>>(),
    )?;
    let _ = writeln!(
        text,
        "\n![imbalance of the cores over time]({}/{name})",
        docs::FILES
    );
    docs::write(dir, SECTION, &text)
}

/// The schedulers that this binary has, and what it says of the one that it hasn't.
fn contestants(
    args: &SkewArgs,
    corelane: &Path,
) -> anyhow::Result<(Vec<Contestant>, Option<String>)> {
    let plain = |scheduler| Contestant {
        scheduler,
        rebalance: false,
        tables: String::new(),
    };
    let placement = args.placement.as_ref().map_or(String::new(), |placement| {
        format!("[runtime.glommio]\nplacement = \"{placement}\"\n")
    });
    let glommio = |rebalance: bool| {
        let mut tables = format!("{placement}[runtime.glommio.rebalance]\nenabled = {rebalance}\n");
        if rebalance {
            for line in &args.rebalance {
                let _ = writeln!(tables, "{line}");
            }
        }
        Contestant {
            scheduler: Scheduler::Glommio,
            rebalance,
            tables,
        }
    };
    let mut contestants = vec![plain(Scheduler::WorkStealing), plain(Scheduler::PerCore)];
    let refused = refusal(corelane, &glommio(true))?;
    if refused.is_some() {
        contestants.push(plain(Scheduler::Glommio));
    } else {
        contestants.extend([glommio(false), glommio(true)]);
    }
    Ok((contestants, refused))
}

/// Why `corelane` wouldn't run with this configuration, if it wouldn't.
fn refusal(corelane: &Path, contestant: &Contestant) -> anyhow::Result<Option<String>> {
    let dir = tempfile::Builder::new().prefix("bench-").tempdir()?;
    let path = dir.path().join("corelane.toml");
    let text = format!(
        "[runtime]\nscheduler = \"glommio\"\n{}[listeners.a]\nbind = \"127.0.0.1:1\"\nupstream = \"a\"\n\
         [upstreams.a]\nservers = [\"127.0.0.1:2\"]\n",
        contestant.tables
    );
    std::fs::write(&path, text)?;
    let output = Command::new(corelane)
        .arg("check")
        .arg(&path)
        .output()
        .context("running corelane check")?;
    if output.status.success() {
        return Ok(None);
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Before what is wrong stands where, which is a file that is gone.
    let reason = said.lines().find(|line| !line.trim().is_empty());
    let reason = reason.unwrap_or("refused");
    let reason = reason.replace(&*path.to_string_lossy(), "the configuration");
    Ok(Some(reason))
}

/// Measures one scheduler under one load.
fn turn(
    args: &SkewArgs,
    corelane: &Path,
    place: &Path,
    contestant: &Contestant,
    shape: Shape,
) -> anyhow::Result<(Window, Vec<Look>, f64)> {
    let workers = args.workers as usize;
    let cpus = [args.machine.proxy_cpu];
    let admin = free_port()?.local_addr()?;
    let (upstreams, addresses) = upstreams(2)?;
    let start = Start {
        cpus: &cpus,
        corelane: Some(corelane),
        prefix: &[],
        tuning: Tuning {
            workers: Some(workers),
            tables: &contestant.tables,
            admin: Some(admin),
            ..Tuning::default()
        },
        duty: Duty::Relay,
    };
    // Dropped after the proxy, whose threads are in the cgroups.
    let _caps;
    let proxy = Proxy::start(System::Corelane(contestant.scheduler), &addresses, &start)?;
    await_start(admin)?;
    thread::sleep(SETTLE);
    let opened = open(args, &proxy.listens, admin, contestant.scheduler, shape)?;
    _caps = Caps::put(place, proxy.pid(), workers, args.cap)?;

    let timing = args.turns.timing();
    let dials = Dials {
        proxy: Some(&proxy),
        cpus: &cpus,
    };
    let before = metrics::migrations(admin)?;
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| metrics::watch(admin, &stopped));
        let window = run_opened(opened, &proxy.listens, &upstreams, timing, &dials);
        stopped.store(true, Ordering::Relaxed);
        let looks = watch.join().map_err(|_| anyhow!("the watch panicked"))??;
        let migrations = metrics::migrations(admin)? - before;
        Ok((window?, looks, migrations))
    })
}

/// Opens the flows where they belong. Under work stealing a connection is on no core.
fn open(
    args: &SkewArgs,
    listens: &[SocketAddr],
    admin: SocketAddr,
    scheduler: Scheduler,
    shape: Shape,
) -> anyhow::Result<Opened> {
    let workers = args.workers as usize;
    let bytes_per_second = f64::from(args.heavy) * 1e6;
    let messages_per_second = LIGHT_MESSAGES_PER_SECOND * (LIGHT_PER_WORKER * workers) as f64;
    let (heavy, light) = (HEAVY_PER_WORKER * workers, LIGHT_PER_WORKER * workers);
    if scheduler == Scheduler::WorkStealing {
        return Ok(Opened {
            bulk: place::open(listens[0], admin, heavy)?,
            bytes_per_second,
            messages: place::open(listens[1], admin, light)?,
            messages_per_second,
        });
    }
    let mut wanted = vec![HEAVY_PER_WORKER; workers];
    if shape == Shape::Skewed {
        wanted.fill(0);
        wanted[0] = heavy;
    }
    Ok(Opened {
        bulk: place::deal(listens[0], admin, wanted)?,
        bytes_per_second,
        messages: place::deal(listens[1], admin, vec![LIGHT_PER_WORKER; workers])?,
        messages_per_second,
    })
}

fn table(args: &SkewArgs, contestants: &[Contestant], turns: &[Turn]) -> String {
    let (workers, cap) = (args.workers, args.cap);
    let mut text = format!(
        "### Skew\n\nA simulation of {workers} slow cores on one CPU: each of corelane's {workers} workers is in a cgroup \
         of its own that may use {cap} % of a CPU (`cpu.cfs_quota_us` of {} in {PERIOD_US} µs), unpinned, all of them on \
         CPU {}; the load generator has CPU {}. {} heavy flows of {} MB/s each are all on the first worker (skewed) or on one \
         worker each (even), found there by `corelane_core_accepts_total` as they were opened; {LIGHT_PER_WORKER} light \
         connections are on each worker, {LIGHT_MESSAGES_PER_SECOND:.0} messages a second each, as an open loop. Under work stealing a connection \
         is on no worker, so that both loads are the same. A worker that has used up its quota waits for the rest of \
         the {} ms, and so do its messages. λ is max/mean − 1 of the workers' CPU time: 0 is even, {} is all on one. \
         Medians (quartiles) of {} rounds, after {} s of load; the first λ is that of the first second.\n\n\
         | scheduler | load | heavy GB/s | light p50 µs | p99 µs | λ first | λ | moved | others on the \
         CPU, % |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
        PERIOD_US * cap / 100,
        args.machine.proxy_cpu,
        args.machine.load_cpu,
        HEAVY_PER_WORKER * workers as usize,
        args.heavy,
        PERIOD_US / 1_000,
        workers - 1,
        args.turns.measured.rounds,
        args.turns.warmup,
    );
    for (index, contestant) in contestants.iter().enumerate() {
        for (shape, name) in [(Shape::Even, "even"), (Shape::Skewed, "skewed")] {
            let spread = |figure: &dyn Fn(&Turn) -> f64| {
                let own = turns
                    .iter()
                    .filter(|turn| turn.contestant == index && turn.shape == shape);
                // Where there was no look within the time, there is no λ.
                Spread::of(own.map(figure).filter(|figure| figure.is_finite()))
            };
            let quantile = |index: usize| {
                spread(&|turn| {
                    let quantiles = turn.window.latency.map(|latency| latency.quantiles);
                    quantiles.map_or(f64::NAN, |all| all[index].as_secs_f64() * 1e6)
                })
            };
            let columns = [
                (
                    spread(&|turn| {
                        turn.window.units as f64 / turn.window.wall.as_secs_f64() * 1e-9
                    }),
                    2,
                ),
                (quantile(0), 0),
                (quantile(1), 0),
                (spread(&|turn| imbalance(&turn.looks, 0.0..1.0)), 2),
                (
                    spread(&|turn| imbalance(&turn.looks, args.turns.warmup..f64::MAX)),
                    2,
                ),
                (spread(&|turn| turn.migrations), 0),
                (spread(&|turn| turn.window.foreign_part() * 100.0), 0),
            ];
            let _ = write!(text, "| {contestant} | {name} |");
            for (figure, digits) in columns {
                let figure = figure.map_or("–".to_owned(), |figure| figure.text(digits));
                let _ = write!(text, " {figure} |");
            }
            text.push('\n');
        }
    }
    text
}

/// The mean λ of the looks at these seconds of the load.
fn imbalance(looks: &[Look], seconds: std::ops::Range<f64>) -> f64 {
    let within = looks
        .iter()
        .filter(|look| seconds.contains(&look.at.as_secs_f64()));
    let (sum, count) = within.fold((0.0, 0), |(sum, count), look| {
        (sum + look.imbalance, count + 1)
    });
    sum / f64::from(count)
}

/// The mean λ at each time, over the rounds.
fn mean<'a>(rounds: impl Iterator<Item = &'a [Look]>) -> Vec<(f64, f64)> {
    let rounds: Vec<&[Look]> = rounds.collect();
    let count = rounds.iter().map(|looks| looks.len()).min().unwrap_or(0);
    (0..count)
        .map(|index| {
            let sum: f64 = rounds.iter().map(|looks| looks[index].imbalance).sum();
            let at = rounds[0][index].at.as_secs_f64();
            (at, sum / rounds.len() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(imbalances: [f64; 3]) -> Vec<Look> {
        (0..3)
            .zip(imbalances)
            .map(|(second, imbalance)| Look {
                at: Duration::from_secs(second),
                imbalance,
            })
            .collect()
    }

    #[test]
    fn a_part_of_the_time_has_its_own_imbalance() {
        assert_eq!(imbalance(&looks([3.0, 1.0, 2.0]), 0.0..1.0), 3.0);
        assert_eq!(imbalance(&looks([3.0, 1.0, 2.0]), 1.0..f64::MAX), 1.5);
    }

    #[test]
    fn rounds_are_averaged_time_by_time() {
        let (one, two) = (looks([3.0, 1.0, 2.0]), looks([1.0, 1.0, 0.0]));
        let mean = mean([one.as_slice(), &two[..2]].into_iter());
        assert_eq!(mean, [(0.0, 2.0), (1.0, 1.0)]);
    }
}
