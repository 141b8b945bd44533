//! Changes of single connections.

use proxy_admin::commands::ConnectionOrder;
use proxy_core::metrics::Cause;
use proxy_core::{Closing, Listener, LiveConnection, Manner, ORDERED_ENDS_MAX};

use super::super::now;
use super::{Made, NotMade};
use crate::proxy::Proxy;

/// Ends a connection, or has another core have it.
pub(super) fn order(id: u64, order: ConnectionOrder, proxy: &Proxy) -> Result<Made, NotMade> {
    let view = proxy.observed.view();
    let mut found = None;
    for view in &view.listeners {
        let listener = &view.listener;
        find(listener, id, |connection| {
            found = Some((listener.clone(), connection))
        });
    }
    let Some((listener, connection)) = found else {
        return Err(NotMade::Absent(format!("there is no connection {id}")));
    };
    let client = &connection.client;
    let of = format!("connection {id} of {client} at {}", listener.name);
    let manner = match order {
        ConnectionOrder::Close => Manner::Close,
        ConnectionOrder::Reset => Manner::Reset,
        ConnectionOrder::Move(core) => {
            let workers = &proxy.workers.running;
            if core >= workers.threads().len() {
                let last = workers.threads().len() - 1;
                return Err(NotMade::Refused(format!(
                    "there is no core {core}; the last one is {last}"
                )));
            }
            return match workers.move_to(&listener, id, core) {
                true => {
                    Ok(format!("{of} is to move from core {} to {core}", connection.core).into())
                }
                false => Err(NotMade::Refused(format!(
                    "{} does not move connections from core to core; glommio does",
                    workers.profile().name
                ))),
            };
        }
    };
    let closing = Closing {
        manner,
        ..Closing::cut(Cause::ByHand, now())
    };
    let ends = &listener.ordered_ends;
    ends.retain(|id| {
        let mut is_open = false;
        find(&listener, id, |_| is_open = true);
        is_open
    });
    if !ends.add(id, closing) {
        return Err(NotMade::Refused(format!(
            "{ORDERED_ENDS_MAX} connections of {} are ending already; try again in a few seconds",
            listener.name
        )));
    }
    proxy.workers.run_all();
    Ok(match manner {
        Manner::Close => format!("{of} is closed as soon as it is quiet"),
        Manner::Reset => format!("{of} is reset"),
    }
    .into())
}

fn find(listener: &Listener, id: u64, mut show: impl FnMut(LiveConnection)) {
    listener.live.each(|connection| {
        if connection.id == id {
            show(connection);
        }
    });
}
