//! Reading the configuration again while the proxy runs (SIGHUP).
//!
//! Listeners' `shares` are applied at once. Everything else needs a restart: a file that changes anything else is
//! refused as a whole, so that what runs is always what some file says.

use std::path::Path;
use std::time::Instant;

use proxy_config::{Config, Loaded};

use crate::assemble;
use crate::config_file::{self, LoadError, Watch};
use crate::proxy::Proxy;
use crate::signals::Hangup;

/// Reloads at each SIGHUP, and when a file is replaced that is watched, and returns when there can't be another one. While the file is read, others have their turn.
pub(crate) async fn at_each(hangup: &mut Hangup, file: &Path, config: &mut Config, proxy: &Proxy) {
    let mut watch = Watch::default();
    loop {
        watch.follow(config.runtime.watch);
        tokio::select! {
            () = hangup.next() => {}
            () = watch.replaced() => {}
        }
        reload(file, config, proxy).await;
    }
}

/// Reads `file` again, and applies it to the proxy that runs `config`. The log says what came of it.
async fn reload(file: &Path, config: &mut Config, proxy: &Proxy) {
    let loaded = config_file::load_meanwhile(file).await;
    let result = checked(loaded, config).map(|new| apply(new, config, proxy));
    let refused = result.as_ref().err();
    proxy.observed.reloads.note(refused.map(String::as_str));
    match result {
        Ok(changes) => tracing::info!(changes, "reloaded the configuration"),
        Err(reason) => {
            tracing::error!("the configuration is not reloaded, what ran goes on: {reason}");
        }
    }
}

/// The new configuration, if it differs in nothing that needs a restart.
fn checked(loaded: Result<Loaded, LoadError>, running: &Config) -> Result<Config, String> {
    // With what the system said, where it did.
    let loaded = loaded.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let changed = restarts(&loaded.config, running);
    if changed.is_empty() {
        Ok(loaded.config)
    } else {
        Err(format!(
            "{} can't be changed while it runs; restart it, or change nothing but listeners' shares",
            changed.join(", ")
        ))
    }
}

/// What differs and needs a restart, as the sections are written.
fn restarts(new: &Config, running: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    if new.runtime != running.runtime {
        changed.push("[runtime]".to_owned());
    }
    if new.admin != running.admin {
        changed.push("[admin]".to_owned());
    }
    if new.access_log != running.access_log {
        changed.push("[access_log]".to_owned());
    }
    if new.upstreams != running.upstreams {
        changed.push("[upstreams]".to_owned());
    }
    if new.listeners.len() != running.listeners.len() {
        changed.push("[listeners]".to_owned());
        return changed;
    }
    for (new, running) in new.listeners.iter().zip(&running.listeners) {
        let mut same = new.clone();
        same.shares = running.shares;
        if same != *running {
            changed.push(format!("[listeners.{}]", new.name));
        }
    }
    changed
}

/// Applies what may change. Returns how many listeners did.
fn apply(new: Config, running: &mut Config, proxy: &Proxy) -> usize {
    let observed = &proxy.observed;
    let listeners = new.listeners.iter().zip(&running.listeners);
    let changes = listeners.filter(|(new, running)| new != running).count();
    let tables = &observed.tables;
    let table = assemble::table(&new, &observed.inventory, &proxy.around);
    let table = tables.publish(table);
    table.apply_shares(observed.running().profile.queues);
    observed.inventory.settle(&table, now());
    *running = new;
    observed.set_configuration(running.to_toml(), running.hash());
    changes
}

#[expect(clippy::disallowed_methods, reason = "when names are retired")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("{text}\n[upstreams.u]\nservers = [\"builtin:echo\"]\n");
        proxy_config::parse(&text, "test")
            .expect("it is valid")
            .config
    }

    #[test]
    fn only_shares_change_without_a_restart() {
        let listeners = "[listeners.a]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n";
        let running = config(listeners);
        let sections = |text: &str| restarts(&config(text), &running);
        assert!(sections(&format!("{listeners}shares = 10")).is_empty());
        assert_eq!(
            sections(&format!("{listeners}idle_timeout = \"1m\"")),
            ["[listeners.a]"]
        );
        assert_eq!(
            sections(&format!("[runtime]\ncores = 1\n{listeners}")),
            ["[runtime]"]
        );
        assert_eq!(
            sections(&format!("[access_log]\npath = \"stdout\"\n{listeners}")),
            ["[access_log]"]
        );
        let more = format!("{listeners}[listeners.b]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"");
        assert_eq!(sections(&more), ["[listeners]"]);
    }
}
