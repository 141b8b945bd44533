//! What is to become of connections that may not stay, by the configuration.

use std::time::{Duration, Instant};

use proxy_config::{ConnectionFate, Runtime, Upstream};
use proxy_core::metrics::Cause;
use proxy_core::{Closing, LIFETIME_GRACE, Manner};

/// That of connections to a server that went down just now. Those that come later go to it though it is down.
pub(crate) fn on_down(upstream: &Upstream, now: Instant) -> Option<Closing> {
    let closing = of_server(
        upstream.on_down,
        upstream.close_over,
        Cause::ServerDown,
        now,
    )?;
    Some(Closing {
        spares_from: Some(now),
        ..closing
    })
}

/// That of connections to a server that was removed just now.
pub(crate) fn on_removed(upstream: &Upstream, now: Instant) -> Option<Closing> {
    let (fate, over) = (upstream.on_removed, upstream.close_over);
    of_server(fate, over, Cause::ServerRemoved, now)
}

fn of_server(
    fate: ConnectionFate,
    over: Option<Duration>,
    cause: Cause,
    now: Instant,
) -> Option<Closing> {
    let manner = match fate {
        ConnectionFate::Keep => return None,
        ConnectionFate::Reset => Manner::Reset,
        ConnectionFate::Close => Manner::Close,
    };
    Some(Closing {
        manner,
        over: over.unwrap_or_default(),
        ..Closing::cut(cause, now)
    })
}

/// That of connections that have `patience` from now on, and are cut then: in the last part of it they are closed. None: they may
/// stay until the end.
pub(crate) fn before_the_end(
    now: Instant,
    patience: Duration,
    runtime: &Runtime,
) -> Option<Closing> {
    // It can't begin before the time that it is a part of.
    let over = runtime.close_over?.min(patience);
    // Those that are not quiet when their moment comes have the rest to become so.
    let grace = LIFETIME_GRACE.min(over / 2);
    Some(Closing {
        manner: Manner::Close,
        over: over - grace,
        ..Closing::cut(Cause::Drain, now.checked_add(patience - over)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_last_part_of_a_drain_ends_before_those_are_cut_that_are_left() {
        let runtime = |keys: &str| {
            let text = format!(
                "[runtime]\n{keys}\n[listeners.l]\nbind = \"127.0.0.1:1\"\nupstream = \"u\"\n\
                 [upstreams.u]\nservers = [\"127.0.0.1:2\"]\n"
            );
            let parsed = proxy_config::parse(&text, "test");
            parsed.expect("it is in order").config.runtime
        };
        let now = origin();
        for (keys, begins_after, over) in [
            ("close_over = \"20s\"", 10 * SECOND, 15 * SECOND),
            ("close_over = \"4s\"", 26 * SECOND, 2 * SECOND),
            ("close_over = \"1h\"", Duration::ZERO, 25 * SECOND),
        ] {
            let closing = before_the_end(now, 30 * SECOND, &runtime(keys)).expect(keys);
            assert_eq!(closing.begins_at, now + begins_after, "{keys}");
            assert_eq!(closing.over, over, "{keys}");
            assert_eq!(closing.manner, Manner::Close);
            let at_once = before_the_end(now, Duration::ZERO, &runtime(keys)).expect(keys);
            assert_eq!((at_once.begins_at, at_once.over), (now, Duration::ZERO));
        }
        assert_eq!(before_the_end(now, 30 * SECOND, &runtime("")), None);
    }
}
