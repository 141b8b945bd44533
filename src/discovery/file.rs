//! Servers by a file, which is read again when it is replaced.

use std::path::Path;
use std::time::Duration;

use super::failure::{Failure, Reason};
use super::format;
use super::report::Said;
use crate::config_file::{ServersFile, Watch, Watched, read_servers_meanwhile};

/// How soon it is read again after a failure, whether it was replaced or not.
const INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Reads it for as long as it runs.
pub(super) async fn ask(path: &Path, interval: Duration, said: &Said) {
    let mut watch = Watch::new(Watched::Servers);
    loop {
        let ServersFile { bytes, sources } =
            read_servers_meanwhile("the list of servers", path, format::LIST_BYTES_MAX).await;
        // What comes from here on is noticed.
        watch.restart(Some(&sources));
        let is_toml = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        let parse = if is_toml { format::toml } else { format::json };
        let read = bytes.map_err(|(is_absent, why)| {
            let reason = if is_absent {
                Reason::NotFound
            } else {
                Reason::Unreachable
            };
            Failure::new(reason, why)
        });
        match read.and_then(|bytes| parse(&bytes)) {
            Ok(found) => {
                tokio::time::sleep(said.on_found(found)).await;
                watch.replaced().await;
            }
            Err(failure) => {
                said.on_failure(&failure);
                let _ =
                    tokio::time::timeout(interval.min(INTERVAL_AFTER_FAILURE), watch.replaced())
                        .await;
            }
        }
    }
}
