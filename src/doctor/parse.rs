//! What the kernel's files say.

use std::ops::RangeInclusive;

/// What `/proc/self/status` says of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// 0: none, 1: strict, 2: a filter.
    pub(super) seccomp: Option<u8>,
    /// Effective capabilities, a bit each.
    pub(super) capabilities: u64,
}

/// Major and minor of a release such as `6.1.0-18-amd64`.
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|character: char| !character.is_ascii_digit());
    let mut number = || parts.next()?.parse().ok();
    Some((number()?, number()?))
}

pub(super) fn status(text: &str) -> Status {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.strip_prefix(':')?.trim())
    };
    let capabilities = value("CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    Status {
        seccomp: value("Seccomp").and_then(|mode| mode.parse().ok()),
        capabilities: capabilities.unwrap_or_default(),
    }
}

/// Two numbers, as in `ip_local_port_range`.
pub(super) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

/// CPUs by `cpu.max` of version 2, such as `150000 100000`; none: as many as there are.
pub(super) fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    share(words.next()?.parse().ok()?, words.next()?.parse().ok()?)
}

/// The same of a quota and a period in microseconds; version 1 writes -1 for none.
pub(super) fn share(quota: i64, period: i64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// The path of a controller of version 1, or of version 2 (an empty name), in `/proc/self/cgroup`.
pub(super) fn cgroup_path<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = controllers.split(',').any(|one| one == controller);
        is_it.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_two_numbers_whatever_follows() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("5.15-rc1"), Some((5, 15)));
        for odd in ["", "6", "six.one", "6.x", "99999999999.1"] {
            assert_eq!(version(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_status_has_the_mode_of_seccomp_and_the_effective_capabilities() {
        let text =
            "Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000001400\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let read = status(text);
        assert_eq!((read.seccomp, read.capabilities), (Some(2), 0x1400));
        assert_eq!(status("CapEff: nonsense\n"), Status::default());
        assert_eq!(status(""), Status::default());
    }

    #[test]
    fn quotas_are_cpus() {
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        for odd in ["", "1", "1 0", "-1 100000", "a b"] {
            assert_eq!(quota(odd), None, "{odd}");
        }
        assert_eq!(share(-1, 100_000), None);
        assert_eq!(share(50_000, 100_000), Some(0.5));
    }

    #[test]
    fn paths_of_both_versions_are_found() {
        let text =
            "9:name=systemd:/\n4:memory:/process_api\n1:cpu,cpuacct:/docker/a:b\n0::/user.slice\n";
        assert_eq!(cgroup_path(text, "cpu"), Some("/docker/a:b"));
        assert_eq!(cgroup_path(text, "memory"), Some("/process_api"));
        assert_eq!(cgroup_path(text, ""), Some("/user.slice"));
        assert_eq!(cgroup_path(text, "pids"), None);
        assert_eq!(cgroup_path("", ""), None);
    }

    #[test]
    fn ranges_are_two_ports() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        for odd in ["", "1", "a b", "1 70000"] {
            assert_eq!(range(odd), None, "{odd}");
        }
    }
}
