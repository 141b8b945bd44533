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
