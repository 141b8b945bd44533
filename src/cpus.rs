//! Which CPUs the workers get.

use anyhow::{Context, bail};
use proxy_config::{Cores, Runtime};
use rustix::thread::{CpuSet, sched_getaffinity};

/// One entry a worker: the CPU that it is pinned to, or none when the kernel is to choose.
///
/// # Errors
/// When more CPUs are asked for than this process may use, or others.
pub(crate) fn assign(runtime: &Runtime) -> anyhow::Result<Vec<Option<usize>>> {
    let set = sched_getaffinity(None).context("the process's CPUs can't be read")?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect();
    let cpus: Vec<usize> = match &runtime.cores {
        Cores::All => allowed,
        Cores::Count(count) if !runtime.pin => return Ok(vec![None; count.get()]),
        Cores::Count(count) => {
            if count.get() > allowed.len() {
                bail!(
                    "[runtime] cores = {count}, and this process may use {} CPUs; lower it, or set pin = false to \
                     run more workers than CPUs",
                    allowed.len()
                );
            }
            allowed[..count.get()].to_vec()
        }
        Cores::List(list) => {
            if let Some(cpu) = list.iter().find(|cpu| !allowed.contains(cpu)) {
                bail!(
                    "[runtime] cores names CPU {cpu}, and this process may use only {allowed:?}; correct the list, \
                     or the affinity that the process is started with"
                );
            }
            list.clone()
        }
    };
    Ok(cpus
        .into_iter()
        .map(|cpu| runtime.pin.then_some(cpu))
        .collect())
}

/// Why the workers are too many for this machine, and what to write instead; none where each can have a CPU to itself.
pub(crate) fn warning(runtime: &Runtime) -> Option<String> {
    let Cores::Count(workers) = &runtime.cores else {
        // CPUs by name or all of them: a worker each.
        return None;
    };
    let set = sched_getaffinity(None).ok()?;
    too_many(workers.get(), set.count() as usize)
}

fn too_many(workers: usize, allowed: usize) -> Option<String> {
    (workers > allowed).then(|| {
        format!(
            "[runtime] cores = {workers}, and this process may use {allowed} CPUs: workers wait for each other's turn on a CPU, \
             which makes latencies longer and nothing faster; write cores = \"all\", which is {allowed} here, or run it where \
             there are {workers}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_workers_than_cpus_are_told_with_what_to_write() {
        assert_eq!(too_many(2, 2), None);
        let told = too_many(1024, 2).expect("they are too many");
        for part in ["cores = 1024", "may use 2 CPUs", "cores = \"all\""] {
            assert!(told.contains(part), "{told}");
        }
    }
}
