//! What can go wrong with a connection while the proxy changes.

use rustix::io::Errno;
use std::fmt;

/// How a connection failed its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody listened.
    Refused,
    /// It was reset.
    Reset,
    /// Its stream ended too early.
    Closed,
    /// Other bytes came back than were sent.
    Wrong,
    /// Its answer took too long, or never came.
    Late,
}

const FAULTS: [(Fault, &str); 5] = [
    (Fault::Refused, "refused"),
    (Fault::Reset, "reset"),
    (Fault::Closed, "closed"),
    (Fault::Wrong, "wrong"),
    (Fault::Late, "late"),
];

impl Fault {
    /// The fault that an error of a socket is; none where the load generator is to blame.
    pub(super) fn of(error: Errno) -> Option<Self> {
        match error {
            Errno::CONNREFUSED => Some(Self::Refused),
            Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE => Some(Self::Reset),
            Errno::TIMEDOUT => Some(Self::Late),
            _ => None,
        }
    }
}

/// How many there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults([u64; FAULTS.len()]);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Adds what an error says.
    ///
    /// # Errors
    /// The error, where it is the load generator's own.
    pub(super) fn add_error(&mut self, error: Errno) -> rustix::io::Result<()> {
        self.add(Fault::of(error).ok_or(error)?);
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The kinds that there were; 0 where there were none.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total() == 0 {
            return f.write_str("0");
        }
        let kinds = FAULTS.iter().zip(self.0).filter(|(_, count)| *count > 0);
        let kinds: Vec<String> = kinds
            .map(|((_, name), count)| format!("{count} {name}"))
            .collect();
        f.write_str(&kinds.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_kind() {
        let mut faults = Faults::default();
        assert_eq!(faults.to_string(), "0");
        for (fault, _) in FAULTS {
            faults.add(fault);
        }
        faults.add_error(Errno::CONNREFUSED).unwrap();
        assert_eq!(faults.add_error(Errno::MFILE), Err(Errno::MFILE));
        assert_eq!(
            faults.to_string(),
            "2 refused, 1 reset, 1 closed, 1 wrong, 1 late"
        );
        let mut twice = faults;
        twice.merge(faults);
        assert_eq!((faults.total(), twice.total()), (6, 12));
    }
}
