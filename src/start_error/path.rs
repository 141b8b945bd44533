//! Why a file can't be made or opened, and what to do.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::resource;

/// "WHO can't write to PATH; ADVICE": to be followed by the error itself.
pub(crate) fn cannot_write(who: &str, key: &str, path: &Path, error: &io::Error) -> String {
    let advice = Errno::from_io_error(error).and_then(|errno| advice(key, path, errno));
    let advice = advice.unwrap_or_else(|| format!("change {key}"));
    format!("{who} can't write to {}; {advice}", path.display())
}

/// "cannot read WHAT PATH; ADVICE", where the error calls for advice: to be followed by the error itself.
pub(crate) fn cannot_read(what: &str, path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    let advice = Errno::from_io_error(error).and_then(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => {
            Some("check its path".to_owned())
        }
        Errno::ACCESS | Errno::PERM => Some(format!(
            "see that this user may read it and enter its directories (`namei -l {shown}` shows the rights)"
        )),
        errno => resource::advice(errno).map(str::to_owned),
    });
    match advice {
        Some(advice) => format!("cannot read {what} {shown}; {advice}"),
        None => format!("cannot read {what} {shown}"),
    }
}

/// What to do about a file that can't be made at `path`, which `key` names; none where the error says all.
pub(super) fn advice(key: &str, path: &Path, errno: Errno) -> Option<String> {
    let directory = path.parent().unwrap_or(path).display();
    let shown = path.display();
    Some(match errno {
        Errno::NOENT => format!(
            "make the directory {directory} (systemd: RuntimeDirectory=, LogsDirectory=), or change {key}"
        ),
        Errno::NOTDIR => {
            format!(
                "not all of {directory} is a directory: `namei -l {shown}` shows what is; change {key}"
            )
        }
        Errno::ISDIR => format!("{shown} is a directory; name a file in it in {key}"),
        Errno::ACCESS | Errno::PERM => format!(
            "see that this user may write in {directory} (`namei -l {shown}` shows the rights), and that no security \
             policy forbids it; or change {key}"
        ),
        Errno::ROFS => format!(
            "the file system of {directory} is read-only for this process (systemd: ReadWritePaths=); change {key}"
        ),
        Errno::NOSPC | Errno::DQUOT => {
            format!(
                "the file system of {directory} is full: `df {directory}` and `df -i {directory}` show it"
            )
        }
        Errno::LOOP => format!("symbolic links of {directory} go in a circle; change {key}"),
        errno => return resource::advice(errno).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_gets_advice_that_fits() {
        let path = Path::new("/etc/a.toml");
        for (errno, words) in [
            (Errno::NOENT, "; check its path"),
            (Errno::ACCESS, "may read it"),
            (Errno::MFILE, "LimitNOFILE"),
        ] {
            let told = cannot_read("the configuration", path, &errno.into());
            assert!(told.starts_with("cannot read the configuration /etc/a.toml; "));
            assert!(told.contains(words), "{errno:?}: {told}");
        }
        let told = cannot_read("the configuration", path, &Errno::IO.into());
        assert_eq!(told, "cannot read the configuration /etc/a.toml");
    }

    #[test]
    fn advice_fits_the_errno() {
        let path = Path::new("/var/log/x/a.log");
        for (errno, words) in [
            (Errno::NOENT, "make the directory /var/log/x ("),
            (Errno::NOTDIR, "not all of /var/log/x is a directory"),
            (Errno::ISDIR, "/var/log/x/a.log is a directory"),
            (Errno::ACCESS, "may write in /var/log/x ("),
            (Errno::PERM, "may write in /var/log/x ("),
            (Errno::ROFS, "read-only"),
            (Errno::NOSPC, "is full"),
            (Errno::DQUOT, "is full"),
            (Errno::LOOP, "circle"),
            (Errno::MFILE, "LimitNOFILE"),
        ] {
            let told = advice("`path`", path, errno).expect("it is known");
            assert!(told.contains(words), "{errno:?}: {told}");
        }
        assert_eq!(advice("`path`", path, Errno::IO), None);
        let told = cannot_write("[access_log]", "`path`", path, &Errno::IO.into());
        assert_eq!(
            told,
            "[access_log] can't write to /var/log/x/a.log; change `path`"
        );
    }
}
