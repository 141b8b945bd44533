//! Whether the process may open as many files as its configuration asks for.

use std::os::fd::AsRawFd;

use proxy_config::{Config, ServerAddress};
use proxy_core::descriptors::{self, Room};
use rustix::io::fcntl_dupfd_cloexec;

/// Warns when the listeners' `max_connections` can't all be open at a time. To be called when all has started and nobody is
/// accepted yet: what is open now stays open.
pub(crate) fn warn(config: &Config) {
    // The number that is free next is how many are open.
    let open =
        fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0).map_or(0, |fd| fd.as_raw_fd() as u64);
    descriptors::note_start(open);
    if let Some(warning) = descriptors::room().and_then(|room| warning(config, room)) {
        tracing::warn!("{warning}");
    }
}

fn warning(config: &Config, room: Room) -> Option<String> {
    let Room { limit, kept, open } = room;
    let max = config.listeners.iter().filter_map(|listener| {
        let upstreams = listener.upstreams().into_iter();
        let mut servers = upstreams.flat_map(|index| &config.upstream(index).servers);
        let echoes = servers.any(|server| server.address == ServerAddress::BuiltinEcho);
        // The echo server's end is in this process as well.
        let each = descriptors::OF_A_CONNECTION + u64::from(echoes);
        Some((listener.max_connections?.get(), each))
    });
    let (mut connections, mut needed) = (0_u64, open.saturating_add(kept));
    for (max, each) in max {
        connections = connections.saturating_add(max);
        needed = needed.saturating_add(max.saturating_mul(each));
    }
    (connections > 0 && needed > limit).then(|| {
        format!(
            "max_connections allows {connections} connections, and this process may have {limit} files open, which is \
             enough for {}: a connection needs two, {open} are open now, and {kept} are kept for the admin server, \
             health checks and logs; raise the limit to {needed} (LimitNOFILE= in systemd, or ulimit -n), or lower \
             max_connections",
            room.connections()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listeners: &[Option<u64>]) -> Config {
        let mut text = String::from("[upstreams.u]\nservers = [\"127.0.0.1:1\"]\n");
        for (index, max) in listeners.iter().enumerate() {
            let max = max.map(|max| format!("max_connections = {max}\n"));
            let max = max.unwrap_or_default();
            text +=
                &format!("[listeners.l{index}]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n{max}");
        }
        let loaded = proxy_config::parse(&text, "test");
        loaded.expect("it is valid").config
    }

    fn room(limit: u64, open: u64) -> Room {
        let kept = descriptors::kept_of(limit);
        Room { limit, kept, open }
    }

    #[test]
    fn what_fits_is_fine_and_what_does_not_is_said_with_what_would_be_enough() {
        assert_eq!(warning(&config(&[None]), room(64, 60)), None);
        // 1024 less the 128 that are kept and 24 that are open.
        assert_eq!(warning(&config(&[Some(436)]), room(1024, 24)), None);
        let said =
            warning(&config(&[Some(436), Some(1), None]), room(1024, 24)).expect("a warning");
        assert!(
            said.contains("437 connections") && said.contains("enough for 436"),
            "{said}"
        );
        assert!(said.contains("raise the limit to 1026 "), "{said}");
        let most = i64::MAX as u64;
        assert!(warning(&config(&[Some(most), Some(most)]), room(1024, 24)).is_some());
    }
}
