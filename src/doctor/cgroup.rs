//! What the control groups of this process allow it.

use std::path::{Path, PathBuf};

use super::parse::{cgroup_path, quota, share};

/// Groups above a process's own that are looked at, at most.
const LEVELS_MAX: usize = 32;

/// Limits of a process by its groups; absent where there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cgroup {
    /// CPUs that it may use, on average.
    pub(super) cpus: Option<f64>,
    /// Threads and processes.
    pub(super) pids: Option<u64>,
    /// The process is in groups, or that can't be read, and nothing shows them at `/sys/fs/cgroup`: there may be limits.
    pub(super) are_hidden: bool,
}

impl Cgroup {
    /// Of both versions, which may be mounted side by side: the narrowest limit of the group and of those above it.
    pub(super) fn gather(root: &Path) -> Self {
        let own = read(&root.join("proc/self/cgroup"));
        // A kernel without them has no such file; where there is no /proc, nobody knows.
        let is_known = own.is_some() || root.join("proc/self/status").exists();
        let own = own.unwrap_or_default();
        let mounted = root.join("sys/fs/cgroup");
        let second = |file: &str| {
            let path = cgroup_path(&own, "")?;
            let base = match mounted.join("unified").is_dir() {
                true => mounted.join("unified"),
                false => mounted.clone(),
            };
            Some(
                levels(&base, path)
                    .filter_map(|level| read(&level.join(file)))
                    .collect(),
            )
        };
        let first = |controller: &str, files: &[&str]| -> Option<Vec<Vec<String>>> {
            let path = cgroup_path(&own, controller)?;
            let base = [controller, "cpu,cpuacct"].map(|name| mounted.join(name));
            let base = base.into_iter().find(|base| base.is_dir())?;
            let of = |level: PathBuf| {
                let texts = files.iter().map(|file| read(&level.join(file)));
                texts.collect::<Option<Vec<_>>>()
            };
            Some(levels(&base, path).filter_map(of).collect())
        };
        let second_cpus: Vec<String> = second("cpu.max").unwrap_or_default();
        let first_cpus = first("cpu", &["cpu.cfs_quota_us", "cpu.cfs_period_us"]);
        let of_first = |texts: &Vec<String>| share(number(&texts[0])?, number(&texts[1])?);
        let cpus = second_cpus.iter().filter_map(|text| quota(text));
        let cpus = cpus.chain(first_cpus.iter().flatten().filter_map(of_first));
        let second_pids: Vec<String> = second("pids.max").unwrap_or_default();
        let first_pids = first("pids", &["pids.max"]).unwrap_or_default();
        let pids = second_pids.iter().chain(first_pids.iter().flatten());
        Self {
            cpus: cpus.min_by(f64::total_cmp),
            pids: pids.filter_map(|text| number(text)?.try_into().ok()).min(),
            are_hidden: !is_known || !own.trim().is_empty() && is_empty(&mounted),
        }
    }
}

/// A group's folder and those above it. In a container the path may be the host's: then the mount itself is the group.
fn levels(base: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let path = path.trim_start_matches('/');
    let levels = Path::new(path).ancestors().take(LEVELS_MAX);
    let levels: Vec<_> = levels.map(|level| base.join(level)).collect();
    levels.into_iter()
}

/// Where nothing is mounted there is nothing, or not even the folder.
fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn gathered(files: &[(&str, &str)]) -> Cgroup {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("write");
        }
        Cgroup::gather(root.path())
    }

    #[test]
    fn the_narrowest_limit_counts() {
        let found = gathered(&[
            ("proc/self/cgroup", "0::/a.slice/b.service\n"),
            ("sys/fs/cgroup/a.slice/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/a.slice/b.service/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a.slice/b.service/pids.max", "100\n"),
            ("sys/fs/cgroup/a.slice/pids.max", "max\n"),
        ]);
        assert_eq!((found.cpus, found.pids), (Some(0.5), Some(100)));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let found = gathered(&[
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "200000 100000\n"),
        ]);
        assert_eq!(found.cpus, Some(2.0));
        let first = gathered(&[
            (
                "proc/self/cgroup",
                "3:cpu,cpuacct:/docker/0123\n2:pids:/docker/0123\n",
            ),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "25000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/pids/pids.max", "64\n"),
        ]);
        assert_eq!((first.cpus, first.pids), (Some(0.25), Some(64)));
    }

    #[test]
    fn both_versions_may_be_there_and_nothing_may() {
        let both = gathered(&[
            ("proc/self/cgroup", "1:cpu:/x\n0::/y\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/unified/y/cpu.max", "300000 100000\n"),
        ]);
        assert_eq!(both.cpus, Some(3.0));
        let none = [("proc/self/status", "Name: x\n")];
        assert_eq!(gathered(&none), Cgroup::default());
        // Without /proc nobody knows.
        assert!(gathered(&[]).are_hidden);
        let hidden = gathered(&[("proc/self/cgroup", "0::/\n")]);
        assert!(hidden.are_hidden);
        assert_eq!((hidden.cpus, hidden.pids), (None, None));
        let odd = gathered(&[
            ("proc/self/cgroup", "0::/../../etc\nnonsense\n:::\n"),
            ("sys/fs/cgroup/cpu.max", "x y\n"),
        ]);
        assert_eq!(odd, Cgroup::default());
    }
}
