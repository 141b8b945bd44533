//! What is said of `[runtime]`.

use crate::{LISTENER, UPSTREAM, assert_problems};

#[test]
fn keys() {
    let render = |lines: &str| format!("[runtime]\n{lines}\n{LISTENER}{UPSTREAM}");
    let cores = "2:9: `runtime.cores` must be \"all\", a number of cores from 1 to 1024 \
        or a list of CPUs such as \"0-3,8\", not";
    assert_problems(
        render,
        &[
            (
                "schedular = \"auto\"",
                "2:1: unknown key `schedular` in [runtime]; did you mean `scheduler`?",
            ),
            (
                "placement = \"least-loaded\"",
                "2:1: unknown key `placement` in [runtime]; it belongs in [runtime.glommio]",
            ),
            (
                "placment = \"least-loaded\"",
                "2:1: unknown key `placment` in [runtime]; did you mean `placement`, which belongs in \
                 [runtime.glommio]?",
            ),
            (
                "mode = \"per-core\"",
                "2:1: unknown key `mode` in [runtime]; it belongs in [runtime.tokio]",
            ),
            (
                "rebalance.enabled = false",
                "2:1: unknown key `rebalance` in [runtime]; it belongs in [runtime.glommio]",
            ),
            (
                "backlog = 5",
                "2:1: unknown key `backlog` in [runtime]; it belongs in [listeners.NAME]",
            ),
            (
                "zzz = 1",
                "2:1: unknown key `zzz` in [runtime]; the keys are scheduler, cores, pin, \
                 drain_timeout, close_over, on_switch, max_connections, watch, user, group, glommio, tokio",
            ),
            (
                "scheduler = \"glomio\"",
                "2:13: `runtime.scheduler` must be \"glommio\" or \"tokio\" or \"auto\", \
                 not \"glomio\"; did you mean \"glommio\"?",
            ),
            (
                "scheduler = 1",
                "2:13: `runtime.scheduler` must be \"glommio\" or \"tokio\" or \"auto\", not 1",
            ),
            ("cores = 0", &format!("{cores} 0")),
            ("cores = -1", &format!("{cores} -1")),
            ("cores = 1025", &format!("{cores} 1025")),
            ("cores = \"al\"", &format!("{cores} \"al\"")),
            ("cores = [0, 1]", &format!("{cores} an array")),
            (
                "cores = \"0,0\"",
                &format!("{cores} \"0,0\"; CPU 0 is listed twice"),
            ),
            (
                "cores = \"3-1\"",
                &format!("{cores} \"3-1\"; write the range as \"1-3\""),
            ),
            (
                "cores = \"1024\"",
                &format!("{cores} \"1024\"; the largest CPU number is 1023"),
            ),
            (
                "pin = \"yes\"",
                "2:7: `runtime.pin` must be true or false, not \"yes\"",
            ),
            (
                "drain_timeout = 30",
                "2:17: `runtime.drain_timeout` must be a duration from 0s to 365d, not 30; \
                 a duration is a string with a unit, such as \"30s\"",
            ),
            (
                "drain_timeout = \"0.5s\"",
                "2:17: `runtime.drain_timeout` must be a duration from 0s to 365d, not \"0.5s\"; \
                 write whole numbers with the units d, h, m, s, ms, us or ns, the largest first, \
                 as in \"1h30m\"",
            ),
            (
                "drain_timeout = \"366d\"",
                "2:17: `runtime.drain_timeout` must be a duration from 0s to 365d, not \"366d\"",
            ),
            (
                "on_switch = \"mov\"",
                "2:13: `runtime.on_switch` must be \"move\" or \"drain\", not \"mov\"; did you mean \"move\"?",
            ),
            (
                "watch = \"yes\"",
                "2:9: `runtime.watch` must be true or false, not \"yes\"",
            ),
            (
                "glommio = 1",
                "2:11: `runtime.glommio` must be a table, not 1",
            ),
            (
                "glommio.ring_dept = 64",
                "2:9: unknown key `ring_dept` in [runtime.glommio]; did you mean `ring_depth`?",
            ),
            (
                "glommio.ring_depth = 1000",
                "2:22: `runtime.glommio.ring_depth` must be a power of two from 64 to 32768, \
                 not 1000",
            ),
            (
                "glommio.ring_depth = 32",
                "2:22: `runtime.glommio.ring_depth` must be a power of two from 64 to 32768, \
                 not 32",
            ),
            (
                "glommio.preempt_timer = \"1s\"",
                "2:25: `runtime.glommio.preempt_timer` must be a duration from 100us to 100ms, \
                 not \"1s\"",
            ),
            (
                "glommio.placement = \"roundrobin\"",
                "2:21: `runtime.glommio.placement` must be \"reuseport\" or \"least-loaded\" or \
                 \"round-robin\" or \"incoming-cpu\", not \"roundrobin\"; did you mean \
                 \"round-robin\"?",
            ),
            (
                "glommio.rebalance.threshold = 0",
                "2:31: `runtime.glommio.rebalance.threshold` must be a number from 0.05 to 10, not 0",
            ),
            (
                "glommio.rebalance.threshold = nan",
                "2:31: `runtime.glommio.rebalance.threshold` must be a number from 0.05 to 10, not nan",
            ),
            (
                "glommio.rebalance.max_moves = 5000",
                "2:31: `runtime.glommio.rebalance.max_moves` must be an integer from 1 to 1024, not \
                 5000",
            ),
            (
                "tokio.mod = \"per-core\"",
                "2:7: unknown key `mod` in [runtime.tokio]; did you mean `mode`?",
            ),
            (
                "tokio.mode = \"percore\"",
                "2:14: `runtime.tokio.mode` must be \"work-stealing\" or \"per-core\", \
                 not \"percore\"; did you mean \"per-core\"?",
            ),
        ],
    );
}
