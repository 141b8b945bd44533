//! The processes of a proxy that is upgraded: those that took over have other parents than the first one's.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitpid,
};

use super::contestant::Contestant;
use super::setting::{NGINX_PID, Setting, forget_envoy};
use crate::change::arrived::{LOOK_EVERY, is_answered};
use crate::change::left;
use crate::proxy::{Proxy, children, directory};
use crate::sys;

/// How long a step may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How long a process may take to end beyond its limit.
const END_MAX: Duration = Duration::from_secs(5);
/// Processes of one turn, at most.
const PROCESSES_MAX: usize = 256;
/// Characters of a reason that are shown.
const REASON_MAX: usize = 200;

/// A proxy and what took over from it. All end when it is dropped.
pub(super) struct Lineage<'a> {
    setting: &'a Setting<'a>,
    /// Envoy's later ones.
    later: Vec<Child>,
    pub(super) proxy: Proxy,
}

/// What came of a step.
pub(super) enum Step {
    /// So long after it was asked for, the new process had taken over.
    Taken(Duration),
    /// The old one goes on, and why.
    NotTaken(String),
}

impl<'a> Lineage<'a> {
    /// Starts the first process. Orphans of all that follow become this process's children.
    pub(super) fn start(setting: &'a Setting<'a>) -> anyhow::Result<Self> {
        set_child_subreaper(Some(getpid())).context("becoming the parent of what is orphaned")?;
        let dir = directory()?;
        let launch = setting.launch(dir.path())?;
        let proxy = Proxy::run(launch, setting.services, dir, setting.cpus, &[])?;
        Ok(Self {
            setting,
            later: Vec::new(),
            proxy,
        })
    }

    /// All its processes that run.
    pub(super) fn pids(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut parents = vec![getpid()];
        while let Some(parent) = parents.pop() {
            for child in children(parent) {
                if found.len() < PROCESSES_MAX && is_alive(child) {
                    found.push(child);
                    parents.push(child);
                }
            }
        }
        found
    }

    /// Has a new process take over: the one of upgrade `step`, where the first one is 1.
    pub(super) fn step(&mut self, step: u32) -> anyhow::Result<Step> {
        let old = self.pids();
        let asked = Instant::now();
        match self.setting.contestant {
            Contestant::Corelane(_) | Contestant::Switching { .. } => self.upgrade_corelane(step),
            Contestant::Haproxy { .. } => {
                kill_process(self.proxy.pid(), Signal::USR2)?;
                Ok(self.await_new(&old, asked))
            }
            Contestant::Nginx { .. } => {
                let master = self.nginx_master()?;
                kill_process(master, Signal::USR2)?;
                let step = self.await_new(&old, asked);
                if let Step::Taken(_) = step {
                    kill_process(master, Signal::QUIT)?;
                }
                Ok(step)
            }
            Contestant::Envoy => {
                let mut command = self.setting.envoy(self.proxy.dir(), step)?;
                let log = self.proxy.dir().join(format!("stderr-{step}.log"));
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(fs::File::create(&log)?);
                sys::tie(&mut command, self.setting.cpus, Signal::KILL);
                let mut child = command.spawn().context("starting the next Envoy")?;
                let step = self.await_new(&old, asked);
                let ended = child.try_wait()?;
                self.later.push(child);
                Ok(match ended {
                    Some(status) => {
                        let said = fs::read_to_string(log).unwrap_or_default();
                        Step::NotTaken(reason(&format!("{status}: {said}")))
                    }
                    None => step,
                })
            }
        }
    }

    /// Waits until there is a process that is none of the `old` ones, and a connection that begins then is answered.
    fn await_new(&self, old: &[Pid], asked: Instant) -> Step {
        let nginx = self.proxy.dir().join(NGINX_PID);
        let is_nginx = matches!(self.setting.contestant, Contestant::Nginx { .. });
        let listen = self.proxy.listens[0];
        while asked.elapsed() < END_MAX {
            let is_new = self.pids().iter().any(|pid| !old.contains(pid));
            if is_new && (!is_nginx || nginx.exists()) && is_answered(listen) {
                return Step::Taken(asked.elapsed());
            }
            sleep(LOOK_EVERY);
        }
        Step::NotTaken(format!("no new process after {END_MAX:?}"))
    }

    fn nginx_master(&self) -> anyhow::Result<Pid> {
        let path = self.proxy.dir().join(NGINX_PID);
        let number = fs::read_to_string(path).context("the number of nginx's master")?;
        let master = number.trim().parse().ok().and_then(Pid::from_raw);
        master.context("nginx's master has no number")
    }

    fn upgrade_corelane(&self, step: u32) -> anyhow::Result<Step> {
        let dir = self.proxy.dir();
        self.setting.write(dir, step)?;
        let [new, before] = self.setting.corelane.context("corelane was not built")?;
        let binary = if is_rollback(step) { before } else { new };
        let mut command = Command::new(binary);
        command.arg("upgrade").arg(binary.canonicalize()?);
        command.arg("--socket").arg(Setting::socket(dir));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let asked = Instant::now();
        let mut child = command.spawn().context("running corelane upgrade")?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if asked.elapsed() > STEP_MAX {
                child.kill()?;
                child.wait()?;
                break None;
            }
            sleep(Duration::from_millis(1));
        };
        let took = asked.elapsed();
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        Ok(match status {
            Some(status) if status.success() => Step::Taken(took),
            Some(_) => Step::NotTaken(reason(&said)),
            None => Step::NotTaken(format!("not over after {STEP_MAX:?}")),
        })
    }

    /// Waits until the `old` processes that end after a time have ended.
    pub(super) fn await_limit(&mut self, old: &[Pid], asked: Instant) {
        let limit = Duration::from_secs(self.setting.args.drain.into());
        sleep((asked + limit).saturating_duration_since(Instant::now()));
        let deadline = Instant::now() + END_MAX;
        // HAProxy's master stays, and so does what started nginx.
        let is_envoy = matches!(self.setting.contestant, Contestant::Envoy);
        let first = self.proxy.pid();
        let ends = |pid: &&Pid| is_envoy || **pid != first;
        while old.iter().filter(ends).any(|&pid| is_alive(pid)) && Instant::now() < deadline {
            self.reap();
            sleep(LOOK_EVERY);
        }
    }

    /// How many of the `old` processes still serve connections of clients, and how many these are.
    pub(super) fn left(&self, old: &[Pid]) -> [usize; 2] {
        let counts = old.iter().map(|&pid| left::with(pid, &self.proxy.listens));
        let counts: Vec<usize> = counts.filter(|&count| count > 0).collect();
        [counts.len(), counts.iter().sum()]
    }

    /// Lets go of orphans that have ended.
    fn reap(&mut self) {
        let mut own: Vec<Pid> = self.later.iter().map(Pid::from_child).collect();
        own.push(self.proxy.pid());
        for pid in children(getpid()) {
            if !own.contains(&pid) {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
        for child in &mut self.later {
            let _ = child.try_wait();
        }
    }
}

impl Drop for Lineage<'_> {
    fn drop(&mut self) {
        let deadline = Instant::now() + END_MAX;
        loop {
            let pids = self.pids();
            if pids.is_empty() || Instant::now() > deadline {
                break;
            }
            for pid in pids {
                if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
                    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                }
            }
            self.reap();
            sleep(LOOK_EVERY);
        }
        self.reap();
        if matches!(self.setting.contestant, Contestant::Envoy) {
            forget_envoy();
        }
    }
}

/// Whether upgrade `step` goes back to the program of before: every third one does.
pub(super) fn is_rollback(step: u32) -> bool {
    step.is_multiple_of(3)
}

/// Whether a process runs: one that nobody has waited for doesn't.
fn is_alive(pid: Pid) -> bool {
    let path = format!("/proc/{}/stat", pid.as_raw_pid());
    let stat = fs::read_to_string(Path::new(&path)).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// What a program complained of, fit for a cell of a table.
fn reason(said: &str) -> String {
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    words.replace('|', "/").chars().take(REASON_MAX).collect()
}
