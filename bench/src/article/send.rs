//! The cost of `Send`: what may be shared between threads, against what may not, on one thread that shares nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::spread::Spread;

/// Repetitions of one turn.
const REPEATS: u64 = 5_000_000;
/// The same of the maps.
const MAP_REPEATS: u64 = 500_000;
/// Keys of a map.
const KEYS: u64 = 1_000;

/// One thing done both ways.
struct Pair {
    what: &'static str,
    shared: fn() -> Duration,
    local: fn() -> Duration,
    repeats: u64,
    article: &'static str,
}

const PAIRS: [Pair; 3] = [
    Pair {
        what: "clone and drop: `Arc` / `Rc`",
        shared: arc,
        local: rc,
        repeats: REPEATS,
        article: "nearly 15",
    },
    Pair {
        what: "add one: `AtomicU64::fetch_add` / `Cell`",
        shared: atomic,
        local: cell,
        repeats: REPEATS,
        article: "30",
    },
    Pair {
        what: "insert and look up: `Mutex<HashMap>` / `RefCell<HashMap>`",
        shared: mutex_map,
        local: refcell_map,
        repeats: MAP_REPEATS,
        article: "1.7",
    },
];

/// The medians of so many rounds, in which the six take turns.
pub(super) fn table(rounds: u32) -> String {
    let mut figures = vec![(Vec::new(), Vec::new()); PAIRS.len()];
    for _ in 0..rounds {
        for (pair, (shared, local)) in PAIRS.iter().zip(&mut figures) {
            let each = |time: Duration| time.as_secs_f64() * 1e9 / pair.repeats as f64;
            shared.push(each((pair.shared)()));
            local.push(each((pair.local)()));
        }
    }
    let mut text = format!(
        "### The cost of Send\n\nOne thread, no contention; nanoseconds each, medians of {rounds} interleaved rounds, \
         and the median (quartiles) of the rounds' ratios.\n\n\
         | what | for threads | for one thread | ratio | the article's |\n|---|--:|--:|--:|--:|\n"
    );
    for (pair, (shared, local)) in PAIRS.iter().zip(figures) {
        let ratios = shared.iter().zip(&local).map(|(a, b)| a / b);
        if let (Some(ratio), Some(shared), Some(local)) = (
            Spread::of(ratios),
            Spread::of(shared.iter().copied()),
            Spread::of(local.iter().copied()),
        ) {
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.2} | {} | {} |",
                pair.what,
                shared.median,
                local.median,
                ratio.text(1),
                pair.article
            );
        }
    }
    text + "\nThe loops are the article's. `black_box` takes the `Cell`'s value through the stack at each turn, \
            so that the loop is not folded into one addition; what is left is a store, a load and an addition, which \
            a CPU that renames memory does in about a cycle. The ratios depend on how dear a \
            locked instruction is on a CPU next to a plain one, and this is another CPU than the article's.\n"
}

fn timed(repeats: u64, mut body: impl FnMut(u64)) -> Duration {
    let started = Instant::now();
    for repeat in 0..repeats {
        body(repeat);
    }
    started.elapsed()
}

fn arc() -> Duration {
    let arc = Arc::new(42_u64);
    timed(REPEATS, |_| {
        let clone = Arc::clone(&arc);
        black_box(&clone);
    })
}

fn rc() -> Duration {
    let rc = Rc::new(42_u64);
    timed(REPEATS, |_| {
        let clone = Rc::clone(&rc);
        black_box(&clone);
    })
}

fn atomic() -> Duration {
    let atomic = AtomicU64::new(0);
    let time = timed(REPEATS, |_| {
        atomic.fetch_add(black_box(1), Ordering::Relaxed);
    });
    black_box(atomic.load(Ordering::Relaxed));
    time
}

fn cell() -> Duration {
    let cell = Cell::new(0_u64);
    let time = timed(REPEATS, |_| cell.set(black_box(cell.get()) + 1));
    black_box(cell.get());
    time
}

fn mutex_map() -> Duration {
    let map: Mutex<HashMap<u64, u64>> = Mutex::default();
    timed(MAP_REPEATS, |repeat| {
        let key = repeat % KEYS;
        map.lock().unwrap().insert(key, repeat);
        black_box(map.lock().unwrap().get(&key));
    })
}

fn refcell_map() -> Duration {
    let map: RefCell<HashMap<u64, u64>> = RefCell::default();
    timed(MAP_REPEATS, |repeat| {
        let key = repeat % KEYS;
        map.borrow_mut().insert(key, repeat);
        black_box(map.borrow().get(&key).copied());
    })
}
