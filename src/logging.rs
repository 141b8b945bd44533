//! The log on stderr: what of it is written, which can change while the proxy runs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use proxy_admin::LogView;
use proxy_admin::commands::{LogChange, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

/// Modules whose level is another one than that of all others.
const MODULES_MAX: usize = 64;

/// Bytes of a module's name.
const MODULE_BYTES_MAX: usize = 128;

/// How the names of the resolver's modules begin.
const RESOLVER: &str = "hickory";

/// What the log's filter is changed by.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What is in force.
static LEVELS: Mutex<Option<Levels>> = Mutex::new(None);

#[derive(Clone, Debug)]
struct Levels {
    level: LevelFilter,
    modules: BTreeMap<String, LevelFilter>,
}

/// Sends the log to stderr, without waiting for it: stdout is for what was asked for.
pub(crate) fn start(level: LevelFilter) {
    let levels = Levels {
        level,
        modules: BTreeMap::new(),
    };
    let (filter, handle) = reload::Layer::new(levels.filter());
    *lock() = Some(levels);
    // It is started once.
    let _ = FILTER.set(handle);
    let lines = fmt::layer()
        .with_writer(|| proxy_console::Log)
        // Of which it would tell by `eprintln!`.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
}

/// What is logged, as people see it.
pub(crate) fn shown() -> LogView {
    let levels = lock().clone();
    levels.map_or_else(LogView::default, |levels| levels.view())
}

/// Logs something else from now on. Returns that in words.
///
/// # Errors
/// What can't be, in words; nothing has changed then.
pub(crate) fn change(change: &LogChange) -> Result<String, String> {
    let mut current = lock();
    let (Some(levels), Some(filter)) = (&*current, FILTER.get()) else {
        return Err("nothing is logged here".to_owned());
    };
    let mut levels = levels.clone();
    levels.level = change.level.map_or(levels.level, of);
    for (module, level) in &change.modules {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        if module.is_empty() || module.len() > MODULE_BYTES_MAX || !module.bytes().all(is_name) {
            return Err(format!(
                "{module:?} is no module; name one as in \"corelane::reload\", or a part of its beginning"
            ));
        }
        match level {
            Some(level) => levels.modules.insert(module.clone(), of(*level)),
            None => levels.modules.remove(module),
        };
    }
    if levels.modules.len() > MODULES_MAX {
        return Err(format!(
            "that makes more than {MODULES_MAX} modules; set the level of all"
        ));
    }
    filter
        .reload(levels.filter())
        .map_err(|error| format!("the log's filter can't be changed: {error}"))?;
    let LogView { level, modules } = levels.view();
    *current = Some(levels);
    let modules = modules
        .iter()
        .map(|(module, level)| format!(", {module} at {level}"));
    Ok(format!(
        "the log is at {level}{}",
        modules.collect::<String>()
    ))
}

impl Levels {
    fn filter(&self) -> Targets {
        let modules = self
            .modules
            .iter()
            .map(|(module, level)| (module.as_str(), *level));
        // What comes by the network must not fill the log: each answer of DNS that nobody has asked for would be a line. What it
        // means for discovery is told by that.
        let resolver = match self.level {
            LevelFilter::INFO | LevelFilter::WARN => LevelFilter::ERROR,
            level => level,
        };
        Targets::new()
            .with_default(self.level)
            .with_target(RESOLVER, resolver)
            .with_targets(modules)
    }

    fn view(&self) -> LogView {
        let modules = self.modules.iter();
        LogView {
            level: self.level.to_string(),
            modules: modules
                .map(|(module, level)| (module.clone(), level.to_string()))
                .collect(),
        }
    }
}

fn of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn lock() -> MutexGuard<'static, Option<Levels>> {
    LEVELS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_resolver_that_is_sent_nonsense_fills_no_log() {
        let warns = |level, module: Option<&str>| {
            let modules = module.map(|module| (module.to_owned(), LevelFilter::WARN));
            let modules = modules.into_iter().collect();
            let filter = Levels { level, modules }.filter();
            assert!(filter.would_enable("corelane::reload", &Level::WARN));
            filter.would_enable("hickory_net::udp", &Level::WARN)
        };
        assert!(!warns(LevelFilter::INFO, None) && !warns(LevelFilter::WARN, None));
        // Who wants all of it has it.
        assert!(warns(LevelFilter::DEBUG, None));
        assert!(warns(LevelFilter::INFO, Some("hickory")));
        assert!(warns(LevelFilter::INFO, Some("hickory_net")));
    }
}
