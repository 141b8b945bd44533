//! Which resource has run out, and what to do.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// "WHAT can't be started", with advice where the error calls for one: to be followed by the error itself.
pub(crate) fn cannot_start(what: &str, error: &io::Error) -> String {
    with_advice(&format!("{what} can't be started"), error)
}

/// "SENTENCE; ADVICE" where the error calls for advice, else the sentence alone.
pub(crate) fn with_advice(sentence: &str, error: &io::Error) -> String {
    let advice = match errno(error) {
        // What clone(2) says; of other calls it is no error at a start.
        Some(Errno::AGAIN) => Some(
            "no more threads are allowed: raise the limit (systemd: TasksMax=; containers: pids.max; shell: ulimit -u)",
        ),
        Some(errno) => advice(errno),
        None => None,
    };
    match advice {
        Some(advice) => format!("{sentence}; {advice}"),
        None => sentence.to_owned(),
    }
}

/// The kernel's number, also where who met it said more.
fn errno(error: &io::Error) -> Option<Errno> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        let found = error.downcast_ref::<io::Error>();
        if let Some(errno) = found.and_then(Errno::from_io_error) {
            return Some(errno);
        }
        source = error.source();
    }
    None
}

/// What no address and no path is to blame for.
pub(super) fn advice(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::MFILE => {
            "the process has no descriptor left: raise its limit (systemd: LimitNOFILE=; shell: ulimit -n)"
        }
        Errno::NFILE => {
            "the machine has no descriptor left: raise fs.file-max, or end what has so many open"
        }
        Errno::NOBUFS | Errno::NOMEM => {
            "the kernel has no memory for it: see what uses it up (`free`, `slabtop`), and the container's limit"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_the_errno() {
        for (errno, words) in [
            (Errno::AGAIN, "TasksMax"),
            (Errno::MFILE, "LimitNOFILE"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOMEM, "memory"),
        ] {
            let told = cannot_start("the resolver's thread", &errno.into());
            assert!(told.contains(words), "{errno:?}: {told}");
        }
        #[derive(Debug, thiserror::Error)]
        #[error("worker 0 can't be started")]
        struct More(#[source] io::Error);
        let more = io::Error::other(More(Errno::MFILE.into()));
        assert!(cannot_start("Tokio", &more).contains("LimitNOFILE"));
        let told = cannot_start("the resolver's thread", &Errno::IO.into());
        assert_eq!(told, "the resolver's thread can't be started");
    }
}
