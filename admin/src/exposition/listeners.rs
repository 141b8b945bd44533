//! What each listener does.

use proxy_core::ListenerView;
use proxy_core::metrics::{Cause, PrologueResult, Rejection};

use super::family::Families;
use crate::observed::surroundings::Surroundings;

/// Adds the families.
pub(super) fn collect(
    families: &mut Families,
    listeners: &[ListenerView],
    surroundings: &dyn Surroundings,
) {
    let mut connections = families.gauge(
        "corelane_listener_connections",
        "Connections that are open now.",
    );
    for ListenerView { listener, .. } in listeners {
        connections.add_count(&[("listener", &listener.name)], listener.connections());
    }
    let mut limits = families.gauge(
        "corelane_listener_connections_limit",
        "The listener's max_connections: connections beyond it are refused. Absent where there is no limit.",
    );
    for ListenerView { listener, settings } in listeners {
        let max = settings.as_ref().and_then(|all| all.max_connections);
        if let Some(max) = max {
            limits.add_count(&[("listener", &listener.name)], max);
        }
    }
    let mut sources = families.gauge(
        "corelane_listener_sources",
        "Sources that have connections now; 0 where max_connections_per_source is not written.",
    );
    for ListenerView { listener, .. } in listeners {
        let count = listener.counted.sources() as u64;
        sources.add_count(&[("listener", &listener.name)], count);
    }
    let mut accepted = families.counter(
        "corelane_listener_connections_total",
        "Connections that were taken on.",
    );
    for ListenerView { listener, .. } in listeners {
        let count = listener.cells.sum(|cells| cells.accepted.get());
        accepted.add_count(&[("listener", &listener.name)], count);
    }
    let mut sockets = families.gauge(
        "corelane_listener_sockets",
        "Listening sockets that are open: more than workers after a switch to fewer, who then share them.",
    );
    for ListenerView { listener, .. } in listeners {
        sockets.add_count(
            &[("listener", &listener.name)],
            surroundings.sockets(&listener.name),
        );
    }
    let mut waiting = families.gauge(
        "corelane_listener_accept_queue",
        "Connections that the kernel has established and no worker has accepted yet; TCP only.",
    );
    for ListenerView { listener, .. } in listeners {
        waiting.add_count(
            &[("listener", &listener.name)],
            surroundings.waiting(&listener.name),
        );
    }
    let mut dropped = families.counter(
        "corelane_listener_accept_drops_total",
        "Connection attempts that the kernel dropped at the listening sockets, for the queue was full; TCP only.",
    );
    for ListenerView { listener, .. } in listeners {
        dropped.add_count(
            &[("listener", &listener.name)],
            surroundings.drops(&listener.name),
        );
    }
    let mut rejected = families.counter(
        "corelane_listener_rejected_total",
        "Connections that were closed at once: \"max_connections\" is the listener's limit, \"process_connections\" the \
         process's, \"source_connections\", \"rate\" and \"source_rate\" are those of a source and of new connections a second, \
         \"peer_headers\" is a peer's limit of headers that are still to come, \"denied\" is who is not let in by allow and deny, \"route\" who takes a route that rejects, \"no_route\" who takes \
         none. \"descriptors\" counts \
         pauses of accepting for lack of a descriptor or memory; clients wait meanwhile.",
    );
    for ListenerView { listener, .. } in listeners {
        for reason in Rejection::ALL {
            let count = listener
                .cells
                .sum(|cells| cells.rejected[reason as usize].get());
            rejected.add_count(
                &[("listener", &listener.name), ("reason", reason.label())],
                count,
            );
        }
    }
    let mut taken = families.counter(
        "corelane_listener_route_connections_total",
        "Connections that took a route, by its name; \"default\" took none of them and went to the listener's own upstream. \
         Absent where there are no routes.",
    );
    for ListenerView { listener, .. } in listeners {
        for route in listener.routes.all() {
            let labels = [("listener", &listener.name[..]), ("route", &route.name)];
            taken.add_count(&labels, route.connections());
        }
    }
    let mut prologues = families.counter(
        "corelane_listener_prologue_total",
        "What came of hearing clients before a server is looked for; \"probe\" opened and closed without a byte, as a balancer's \
         check does. Absent where nothing is heard.",
    );
    for ListenerView { listener, settings } in listeners {
        let counts = PrologueResult::ALL.map(|result| {
            let cells = &listener.cells;
            (
                result,
                cells.sum(|cells| cells.prologue[result as usize].get()),
            )
        });
        let is_heard = settings.as_ref().is_some_and(|all| all.prologue.is_some());
        if !is_heard && counts.iter().all(|&(_, count)| count == 0) {
            continue;
        }
        for (result, count) in counts {
            let labels = [("listener", &listener.name[..]), ("result", result.label())];
            prologues.add_count(&labels, count);
        }
    }
    let mut bytes = families.counter(
        "corelane_listener_bytes_total",
        "Bytes forwarded, counted while connections run; direction \"in\" is from clients, \"out\" to clients.",
    );
    for ListenerView { listener, .. } in listeners {
        let labels = |direction| {
            [
                ("listener", listener.name.as_str()),
                ("direction", direction),
            ]
        };
        bytes.add_count(
            &labels("in"),
            listener.cells.sum(|cells| cells.bytes_in.get()),
        );
        bytes.add_count(
            &labels("out"),
            listener.cells.sum(|cells| cells.bytes_out.get()),
        );
    }
    let mut spliced = families.counter(
        "corelane_listener_spliced_bytes_total",
        "Bytes of both directions that went through a pipe, uncopied.",
    );
    for ListenerView { listener, .. } in listeners {
        let count = listener.cells.sum(|cells| cells.bytes_spliced.get());
        spliced.add_count(&[("listener", &listener.name)], count);
    }
    let mut duration = families.histogram(
        "corelane_listener_connection_duration_seconds",
        "How long connections lasted, from accept to close, in seconds.",
    );
    for ListenerView { listener, .. } in listeners {
        let labels = [("listener", listener.name.as_str())];
        duration.add_histogram(&labels, &listener.cells, |cells| &cells.duration);
    }
    let mut ended = families.counter(
        "corelane_listener_ended_total",
        "Connections that ended, by cause.",
    );
    for ListenerView { listener, .. } in listeners {
        for cause in Cause::ALL {
            let count = listener
                .cells
                .sum(|cells| cells.ended[cause as usize].get());
            ended.add_count(
                &[("listener", &listener.name), ("cause", cause.label())],
                count,
            );
        }
    }
}
