//! Uneven work: few tasks of many are heavy, and threads that were dealt their tasks can't help each other.

use std::fmt::Write as _;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::sched_setaffinity;

use crate::spread::Spread;
use crate::sys;

/// Tasks of one turn.
const TASKS: usize = 1_000;
/// Of so many one is heavy, by chance.
const HEAVY_ONE_IN: u64 = 10;
/// How many times as heavy.
const HEAVY_FACTOR: u64 = 50;
/// Additions of a light task, so that a heavy one takes about as long as the article's.
const LIGHT_ADDITIONS: u64 = 30_000;
/// Cores of the article's machine.
const ARTICLE_CORES: usize = 24;

/// One way to run the tasks, in one round.
struct Turn {
    total: Duration,
    /// Of the tasks' own times.
    p99: Duration,
}

/// The medians of so many rounds, each with another order of tasks.
pub(super) fn table(cpus: [usize; 2], rounds: u32) -> anyhow::Result<String> {
    let (mut stealing, mut pinned, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let tasks = tasks(u64::from(round));
        stealing.push(by_stealing(&tasks, cpus)?);
        pinned.push(by_pinned_threads(&tasks, cpus)?);
        bounds.push((
            imbalance(&tasks, cpus.len()),
            imbalance(&tasks, ARTICLE_CORES),
        ));
    }
    let median = |figures: Vec<f64>| Spread::of(figures).map_or(f64::NAN, |spread| spread.median);
    let ms = |turns: &[Turn]| {
        median(
            turns
                .iter()
                .map(|turn| turn.total.as_secs_f64() * 1e3)
                .collect(),
        )
    };
    let p99 = |turns: &[Turn]| {
        median(
            turns
                .iter()
                .map(|turn| turn.p99.as_secs_f64() * 1e6)
                .collect(),
        )
    };
    let ratio = Spread::of(
        (stealing.iter().zip(&pinned))
            .map(|(stealing, pinned)| pinned.total.as_secs_f64() / stealing.total.as_secs_f64()),
    )
    .context("no rounds")?;
    let (here, there) = bounds.into_iter().unzip();
    let mut text = format!(
        "### Uneven work\n\n{TASKS} tasks, of which one in {HEAVY_ONE_IN} is {HEAVY_FACTOR} times as heavy, by \
         `tokio::spawn` on two workers and by two pinned threads that were dealt them in turn; medians of {rounds} \
         interleaved rounds.\n\n\
         | | Tokio | pinned threads | pinned to Tokio | the article's |\n|---|--:|--:|--:|---|\n"
    );
    let _ = writeln!(
        text,
        "| all the tasks, ms | {:.1} | {:.1} | {} | 1.55 |\n| p99 of a task's own time, µs | {:.0} | {:.0} | {:.2} | \
         644 pinned, 790 Tokio (0.82) |",
        ms(&stealing),
        ms(&pinned),
        ratio.text(2),
        p99(&stealing),
        p99(&pinned),
        p99(&pinned) / p99(&stealing)
    );
    let _ = writeln!(
        text,
        "\nThe gain is bounded by how unevenly chance deals: of these tasks the thread with the most work has {:.2} \
         times the mean of 2 threads, and would have {:.2} times that of {ARTICLE_CORES}, which are the cores of the article's \
         machine; how many threads it ran it doesn't say. What \
         others do on one of the CPUs is unevenness as well, which stealing makes good. A task is never moved while it \
         runs, so that stealing has no part in its own time: where the p99 differ, something else was on the CPU.",
        median(here),
        median(there)
    );
    Ok(text)
}

/// Additions of each task: heavy ones where chance, from `seed`, put them.
fn tasks(seed: u64) -> Vec<u64> {
    let mut state = seed.wrapping_mul(2) | 1;
    (0..TASKS)
        .map(|_| {
            // Knuth's MMIX generator; its high bits are the good ones.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let heavy = (state >> 33).is_multiple_of(HEAVY_ONE_IN);
            LIGHT_ADDITIONS * if heavy { HEAVY_FACTOR } else { 1 }
        })
        .collect()
}

/// The work of the thread that has most, over the mean, when `tasks` are dealt to `threads` in turn.
fn imbalance(tasks: &[u64], threads: usize) -> f64 {
    let mut sums = vec![0; threads];
    for (index, task) in tasks.iter().enumerate() {
        sums[index % threads] += task;
    }
    let total: u64 = sums.iter().sum();
    let most = sums.into_iter().max().unwrap_or(0);
    most as f64 * threads as f64 / total as f64
}

fn by_stealing(tasks: &[u64], cpus: [usize; 2]) -> anyhow::Result<Turn> {
    let set = sys::set_of(&cpus);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cpus.len())
        .on_thread_start(move || {
            // Where it isn't allowed both ways of running the tasks have the same CPUs all the same.
            let _ = sched_setaffinity(None, &set);
        })
        .build()?;
    let started = Instant::now();
    let times = runtime.block_on(async {
        let spawned: Vec<_> = (tasks.iter())
            .map(|&additions| tokio::spawn(async move { work(additions) }))
            .collect();
        let mut times = Vec::with_capacity(spawned.len());
        for task in spawned {
            times.push(task.await?);
        }
        Ok::<_, tokio::task::JoinError>(times)
    })?;
    Ok(Turn::new(started.elapsed(), times))
}

fn by_pinned_threads(tasks: &[u64], cpus: [usize; 2]) -> anyhow::Result<Turn> {
    let started = Instant::now();
    let threads: Vec<_> = (cpus.iter().enumerate())
        .map(|(first, &cpu)| {
            let own: Vec<u64> = tasks
                .iter()
                .skip(first)
                .step_by(cpus.len())
                .copied()
                .collect();
            thread::spawn(move || {
                sched_setaffinity(None, &sys::set_of(&[cpu]))?;
                let times: Vec<Duration> = own.into_iter().map(work).collect();
                Ok::<_, rustix::io::Errno>(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for thread in threads {
        let own = thread.join().ok().context("a thread panicked")?;
        times.extend(own?);
    }
    Ok(Turn::new(started.elapsed(), times))
}

/// The article's task; returns how long it took.
fn work(additions: u64) -> Duration {
    let started = Instant::now();
    let mut sum = 0_u64;
    for addition in 0..additions {
        sum = sum.wrapping_add(black_box(addition));
    }
    black_box(sum);
    started.elapsed()
}

impl Turn {
    fn new(total: Duration, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).copied();
        Self {
            total,
            p99: p99.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_thread_is_told_from_the_mean() {
        assert_eq!(imbalance(&[1, 1, 1, 1], 2), 1.0);
        assert_eq!(imbalance(&[3, 1, 3, 1], 2), 1.5);
    }

    #[test]
    fn about_one_task_in_ten_is_heavy() {
        for seed in 0..5 {
            let heavy = tasks(seed)
                .into_iter()
                .filter(|&task| task > LIGHT_ADDITIONS);
            assert!((60..140).contains(&heavy.count()));
        }
    }
}
