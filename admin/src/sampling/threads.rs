//! What the kernel counts for the worker threads.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use proxy_sys::thread_cpu_time;

use crate::observed::running::LiveThread;

/// Prefix of the names of the kernel's io_uring workers; the thread id of the ring's owner follows.
const IOWQ_PREFIX: &str = "iou-wrk-";

/// Times of the worker threads and of the kernel's io_uring workers beside them, by the worker's index.
///
/// None of them goes backwards, not even when a thread ends: what was last read of it stays in the account.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    live: Vec<(LiveThread, Account)>,
    /// Of threads that are gone, by index.
    ended: Vec<Times>,
}

/// Times of the workers of one index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Their threads' CPU time.
    pub(crate) cpu: Duration,
    /// How long the threads could have run and waited for a CPU.
    pub(crate) runqueue_wait: Duration,
    /// CPU time of the kernel's io_uring workers for their rings. What a worker used between the last read and its end is not
    /// known.
    pub(crate) iowq_cpu: Duration,
}

/// Times of one worker.
#[derive(Debug, Default)]
struct Account {
    cpu: Duration,
    runqueue_wait: Duration,
    iowq: Iowq,
}

impl Threads {
    /// Reads the clocks of the threads that live now.
    pub(crate) fn read(&mut self, threads: &[LiveThread]) -> Vec<Times> {
        for (thread, account) in std::mem::take(&mut self.live) {
            if threads.contains(&thread) {
                self.live.push((thread, account));
            } else {
                add(&mut self.ended, thread.core, account.times());
            }
        }
        for thread in threads {
            if !self.live.iter().any(|(known, _)| known == thread) {
                self.live.push((*thread, Account::default()));
            }
        }
        let iowq = iowq_workers();
        let mut times = self.ended.clone();
        for (LiveThread { tid, core, .. }, account) in &mut self.live {
            if let Some(cpu) = thread_cpu_time(*tid) {
                account.cpu = account.cpu.max(cpu);
            }
            if let Some(times) = schedstat(*tid) {
                account.runqueue_wait = account.runqueue_wait.max(times.wait);
            }
            let own = iowq.iter().filter(|worker| worker.owner == *tid);
            account
                .iowq
                .update(own.map(|worker| (worker.tid, worker.cpu)));
            add(&mut times, *core, account.times());
        }
        times
    }
}

fn add(times: &mut Vec<Times>, core: usize, more: Times) {
    if times.len() <= core {
        times.resize(core + 1, Times::default());
    }
    let sum = &mut times[core];
    sum.cpu += more.cpu;
    sum.runqueue_wait += more.runqueue_wait;
    sum.iowq_cpu += more.iowq_cpu;
}

impl Account {
    fn times(&self) -> Times {
        Times {
            cpu: self.cpu,
            runqueue_wait: self.runqueue_wait,
            iowq_cpu: self.iowq.total(),
        }
    }
}

/// CPU time of threads that come and go.
#[derive(Debug, Default)]
struct Iowq {
    /// Of those that have ended.
    ended: Duration,
    live: HashMap<i32, Duration>,
}

impl Iowq {
    fn update(&mut self, found: impl Iterator<Item = (i32, Duration)>) {
        let found: HashMap<_, _> = found.collect();
        for (tid, &last) in &self.live {
            // A clock that went backwards is another thread's with the same id.
            if found.get(tid).is_none_or(|&now| now < last) {
                self.ended += last;
            }
        }
        self.live = found;
    }

    fn total(&self) -> Duration {
        self.live.values().fold(self.ended, |sum, cpu| sum + *cpu)
    }
}

/// A kernel thread that does what a ring could not do at once.
struct IowqWorker {
    owner: i32,
    tid: i32,
    cpu: Duration,
}

/// The kernel's io_uring workers in this process.
///
/// The kernel names them by the owner's id in its own namespace, so in a container with process ids of its own they
/// belong to no worker here; the process's CPU time has them all the same.
fn iowq_workers() -> Vec<IowqWorker> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let worker = |entry: fs::DirEntry| {
        let owner = iowq_owner(&fs::read_to_string(entry.path().join("comm")).ok()?)?;
        let tid = entry.file_name().to_str()?.parse().ok()?;
        let cpu = schedstat(tid)?.run;
        Some(IowqWorker { owner, tid, cpu })
    };
    tasks.filter_map(|entry| worker(entry.ok()?)).collect()
}

fn iowq_owner(comm: &str) -> Option<i32> {
    comm.trim_end().strip_prefix(IOWQ_PREFIX)?.parse().ok()
}

/// How long a thread could have run and waited for a CPU, ever; as [`Account::runqueue_wait`] says.
pub(crate) fn runqueue_wait(tid: i32) -> Option<Duration> {
    Some(schedstat(tid)?.wait)
}

/// Times of a thread that the kernel's scheduler accounts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schedstat {
    run: Duration,
    /// How long it could have run and waited for a CPU.
    pub(crate) wait: Duration,
}

/// None when the thread is gone, or the kernel was built without it.
pub(crate) fn schedstat(tid: i32) -> Option<Schedstat> {
    parse_schedstat(&fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?)
}

fn parse_schedstat(line: &str) -> Option<Schedstat> {
    let mut fields = line.split_ascii_whitespace();
    let mut nanoseconds = || Some(Duration::from_nanos(fields.next()?.parse().ok()?));
    Some(Schedstat {
        run: nanoseconds()?,
        wait: nanoseconds()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_s_lines_are_parsed() {
        let parsed = parse_schedstat("1500 2500 7\n");
        let wanted = Schedstat {
            run: Duration::from_nanos(1500),
            wait: Duration::from_nanos(2500),
        };
        assert_eq!(parsed, Some(wanted));
        for line in ["", "1", "1 x", "-1 2 3"] {
            assert_eq!(parse_schedstat(line), None, "{line:?}");
        }
        assert_eq!(iowq_owner("iou-wrk-4194303\n"), Some(4_194_303));
        for comm in ["iou-wrk-\n", "iou-sqp-12\n", "corelane-w0\n", ""] {
            assert_eq!(iowq_owner(comm), None, "{comm:?}");
        }
    }

    #[test]
    fn io_workers_never_take_time_back() {
        let ms = Duration::from_millis;
        // What is found, and the total.
        let table: &[(&[(i32, u64)], u64)] = &[
            (&[], 0),
            (&[(1, 10)], 10),
            (&[(1, 15), (2, 1)], 16),
            // 1 has ended.
            (&[(2, 3)], 18),
            // 2 has ended, and a new thread has its id.
            (&[(2, 1)], 19),
            (&[], 19),
        ];
        let mut iowq = Iowq::default();
        for &(found, total) in table {
            iowq.update(found.iter().map(|&(tid, cpu)| (tid, ms(cpu))));
            assert_eq!(iowq.total(), ms(total), "{found:?}");
        }
    }

    #[test]
    fn a_thread_that_is_gone_keeps_its_times() {
        let thread = |run, core, tid| LiveThread { run, core, tid };
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        let mut threads = Threads::default();
        let cpu = threads.read(&[thread(0, 0, own)])[0].cpu;
        assert!(!cpu.is_zero());
        // Another run, with a worker more: the first one's times are kept, and its own are added.
        let gone = i32::MAX >> 4;
        let times = threads.read(&[thread(1, 0, gone), thread(1, 1, own)]);
        assert_eq!(times[0].cpu, cpu);
        assert!(times[1].cpu >= cpu);
        let times = threads.read(&[thread(2, 0, own)]);
        assert!(times[0].cpu >= 2 * cpu && times[1].cpu >= cpu, "{times:?}");
    }
}
