//! Which cores the workers run on.

use std::num::NonZeroUsize;

use toml::de::DeValue;

use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, integer};

/// The most cores that can be asked for, and one more than the largest number of a CPU: what the
/// kernel's fixed CPU sets (`CPU_SETSIZE`) hold.
pub const CORES_MAX: usize = 1024;

/// Which cores get a worker each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cores {
    /// Every CPU that the process may run on.
    All,
    /// So many workers, at most [`CORES_MAX`]; the program chooses their CPUs.
    Count(NonZeroUsize),
    /// One worker for each of these CPUs: at least one, each below [`CORES_MAX`] and listed once,
    /// in the order in which they are written. Whether the machine has them is not known here.
    List(Vec<usize>),
}

impl Read for Cores {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        cores(value)
    }
}

/// `"all"`, a number of cores, or a list of CPUs.
fn cores(value: &DeValue<'_>) -> Result<Cores, Refusal> {
    let read = match value {
        DeValue::Integer(_) => integer(value, 1..=CORES_MAX as u64)
            .map(Cores::Count)
            .map_err(|_| None),
        DeValue::String(text) if text == "all" => Ok(Cores::All),
        DeValue::String(text) => cpu_list(text).map(Cores::List),
        _ => Err(None),
    };
    read.map_err(|advice| {
        let expected = format!(
            "\"all\", a number of cores from 1 to {CORES_MAX} or a list of CPUs such as \"0-3,8\""
        );
        Refusal::new(expected, value).advise(advice)
    })
}

/// CPUs and inclusive ranges of them, separated by commas. The error is what to say beyond that, if
/// anything.
fn cpu_list(text: &str) -> Result<Vec<usize>, Option<String>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (cpu(first)?, cpu(last)?);
        if first > last {
            return Err(Some(format!("write the range as \"{last}-{first}\"")));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(Some(format!("CPU {cpu} is listed twice")));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

fn cpu(text: &str) -> Result<usize, Option<String>> {
    let digits = text.trim_matches(' ');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(None);
    }
    let number = digits.parse().ok().filter(|number| *number < CORES_MAX);
    number.ok_or_else(|| Some(format!("the largest CPU number is {}", CORES_MAX - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_cpus() {
        assert_eq!(cpu_list("0"), Ok(vec![0]));
        assert_eq!(cpu_list("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(cpu_list("8, 0-1"), Ok(vec![8, 0, 1]));
        assert_eq!(cpu_list("1023"), Ok(vec![1023]));
    }

    #[test]
    fn refuses_what_is_no_list() {
        for text in [
            "", ",", "0,", "-", "1-", "-1", "a", "0-3-5", "+1", "0x1", "al",
        ] {
            assert_eq!(cpu_list(text), Err(None), "{text}");
        }
        assert_eq!(
            cpu_list("3-1"),
            Err(Some("write the range as \"1-3\"".to_owned()))
        );
        assert_eq!(
            cpu_list("0-3,2"),
            Err(Some("CPU 2 is listed twice".to_owned()))
        );
        let too_large = Err(Some("the largest CPU number is 1023".to_owned()));
        assert_eq!(cpu_list("1024"), too_large);
        assert_eq!(cpu_list("0-99999999999999999999999"), too_large);
    }
}
