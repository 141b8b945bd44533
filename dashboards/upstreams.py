"""Do the servers behind the proxy answer, and how soon?"""

from common import NONE_WANTED, figure, graph, grid, heat, new, query, timeline, up_and_down, variable
from grafana_foundation_sdk.builders.dashboard import Row

OF = 'upstream=~"$upstream"'
SERVER = "{{upstream}} {{server}}"
FAILURES = f"corelane_upstream_connect_failures_total{{@, {OF}}}"
CONNECTS = f"corelane_upstream_connect_seconds_count{{@, {OF}}}"
CHECKS = f"corelane_upstream_health_checks_total{{@, {OF}}}"
BUCKETS = f"corelane_upstream_connect_seconds_bucket{{@, {OF}}}"


def build():
    board = new(
        "corelane-upstreams", "corelane / Upstreams", "Do the servers behind the proxy answer, and how soon?"
    )
    variable(
        board, "upstream", 'label_values(corelane_upstream_up{job=~"$job", instance=~"$instance"}, upstream)'
    )
    for part in (now, servers, connects, failures, checks):
        part(board)
    return board


def now(board):
    board.with_row(Row("Now"))
    board.with_panel(
        figure(
            "Servers down",
            "Servers whose health checks fail or, without checks, whose last connect did, as seen by each instance. Which "
            "ones: the timeline below. All of an upstream: its clients are turned away.",
            "short",
            f"count(corelane_upstream_up{{@, {OF}}}) - sum(corelane_upstream_up{{@, {OF}}})",
            width=6,
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        figure(
            "Connections to servers",
            "Open connections, connects under way included. It should be as many as clients have; more means connects "
            "that hang: see Time to connect.",
            "short",
            f"sum(corelane_upstream_connections{{@, {OF}}})",
            width=6,
        )
    )
    board.with_panel(
        figure(
            "Failed share of connects",
            "Failed connects over all attempts. Clients notice only when every server of an upstream fails, but each "
            "failure delays one of them: take the server out or mend it.",
            "percentunit",
            f"sum(rate({FAILURES}[@])) / (sum(rate({FAILURES}[@])) + sum(rate({CONNECTS}[@])))",
            width=6,
            steps=[("green", None), ("yellow", 0.01), ("red", 0.05)],
        )
    )
    board.with_panel(
        figure(
            "Slowest per cent of connects",
            "The time to connect that one in a hundred exceeds. Above a second SYNs are lost: look at the network, or "
            "at a server whose accept queue is full.",
            "s",
            f"histogram_quantile(0.99, sum by (le) (rate({BUCKETS}[@])))",
            width=6,
            steps=[("green", None), ("yellow", 0.1), ("red", 1)],
        )
    )


def servers(board):
    board.with_row(Row("Servers"))
    board.with_panel(
        up_and_down(
            timeline(
                "Up by server",
                "Whether the server's health checks pass or, without checks, the last connect to it worked, on every "
                "instance. Flapping: it is overloaded or restarts. Down on one instance only: the way from there.",
                "short",
                f"min by (upstream, server) (corelane_upstream_up{{@, {OF}}})",
                SERVER,
                steps=[("red", None), ("green", 1)],
            )
        )
    )
    board.with_panel(
        graph(
            "Servers by state",
            "Servers that each instance sees in a state. draining and maintenance are somebody's wish; down: checks fail; failing: "
            "without checks, the last connect did; ejected: too many of its connections went wrong; full: it has its "
            "max_connections, so add servers. The live page has the reason, and since when.",
            "short",
            query(f"sum by (upstream, state) (corelane_upstream_server_state{{@, {OF}}})", "{{upstream}} {{state}}"),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "Share of connections by server",
            "Part of its upstream's connections that each server has. The live page has the part that it is to have by weight. "
            "Far from it for long: connections that last, from before a change; balance = \"least-connections\" evens them out.",
            "percentunit",
            query(
                f"sum by (upstream, server) (corelane_upstream_connections{{@, {OF}}}) "
                f"/ on (upstream) group_left () (sum by (upstream) (corelane_upstream_connections{{@, {OF}}}) > 0)",
                SERVER,
            ),
            ceiling=1,
        )
    )
    board.with_panel(
        graph(
            "Connections by server",
            "Open connections to each server. Uneven: weights, or round-robin with connections that last very "
            "differently; balance = \"least-connections\" evens it out.",
            "short",
            query(f"sum by (upstream, server) (corelane_upstream_connections{{@, {OF}}})", SERVER),
        )
    )
    board.with_panel(
        graph(
            "Clients that wait for a server",
            "Accepted, and no server has answered yet. A few come and go; a plateau is a server that hangs, which costs "
            "each of them connect_timeout: Failures by server tells which. Health checks keep clients away from it.",
            "short",
            query(f"sum by (upstream) (corelane_upstream_queue{{@, {OF}}})", "{{upstream}}"),
        )
    )
    board.with_panel(
        graph(
            "Clients in the queue",
            "They wait for a place, as all servers have max_connections (queue). They are among those that wait for a server. A "
            "plateau: the servers are too few or too slow for what comes, and raising their limits helps only if they have room.",
            "short",
            query(f"sum by (upstream) (corelane_upstream_slot_queue{{@, {OF}}})", "{{upstream}}"),
        )
    )
    board.with_panel(
        graph(
            "Connections that are to end",
            "What is left of connections to servers that are down (on_down) or removed (on_removed), which close_over spreads over a "
            "time. It falls in a straight line; a rest that stays is busy, and is reset a while later.",
            "short",
            query(
                f"sum by (upstream, server, fate) (corelane_upstream_closing_connections{{@, {OF}}})",
                SERVER + " {{fate}}",
            ),
        )
    )
    board.with_panel(
        graph(
            "Time in the queue",
            "How long clients waited for a place until they had it, timed out (queue_timeout) or left: the half and the 99 of "
            "100 that waited least. Nothing: nobody waited.",
            "s",
            *(
                query(
                    f"histogram_quantile({part}, sum by (upstream, le) "
                    f"(rate(corelane_upstream_slot_queue_seconds_bucket{{@, {OF}}}[@]))) >= 0",
                    "{{upstream}} " + words,
                )
                for part, words in [("0.5", "half"), ("0.99", "99 %")]
            ),
        )
    )
    board.with_panel(
        graph(
            "Bytes by server",
            "Bytes a second to (in) and from (out) each server, counted while connections run. Uneven though connections "
            "are even: a few heavy clients; no way of balancing connections evens that out.",
            "Bps",
            query(
                f"sum by (upstream, server, direction) (rate(corelane_upstream_bytes_total{{@, {OF}}}[@]))",
                SERVER + " {{direction}}",
            ),
        )
    )
    board.with_panel(
        grid(
            "Servers",
            "All servers now. Sort by failures to find the one to take out of the configuration.",
            ["upstream", "server"],
            [
                (
                    "Up",
                    "percentunit",
                    f"avg by (upstream, server) (corelane_upstream_up{{@, {OF}}})",
                    [("red", None), ("yellow", 0.01), ("green", 1)],
                ),
                ("Connections", "short", f"sum by (upstream, server) (corelane_upstream_connections{{@, {OF}}})", None),
                ("Failures", "cps", f"sum by (upstream, server) (rate({FAILURES}[@]))", NONE_WANTED),
            ],
            width=12,
            height=8,
            sort="Failures",
        )
    )


def connects(board):
    board.with_row(Row("Time to connect"))
    board.with_panel(
        heat(
            "Time to connect",
            "How long connects took that worked. A second band, a second above the first, is a lost SYN: the network "
            "drops, or a server's accept queue is full.",
            "s",
            f"sum by (le) (increase({BUCKETS}[@]))",
        )
    )
    board.with_panel(
        graph(
            "Time to connect by upstream",
            "Median and 99th percentile. If only one upstream rises, it is its servers or the way to them; if all do, it "
            "is this machine: see Cores.",
            "s",
            query(f"histogram_quantile(0.5, sum by (upstream, le) (rate({BUCKETS}[@])))", "{{upstream}} median"),
            query(f"histogram_quantile(0.99, sum by (upstream, le) (rate({BUCKETS}[@])))", "{{upstream}} 99th"),
        )
    )
    board.with_panel(
        graph(
            "Connects by upstream",
            "Connects a second that worked. Many with few bytes: clients reconnect for each request.",
            "cps",
            query(f"sum by (upstream) (rate({CONNECTS}[@]))", "{{upstream}}"),
        )
    )
    board.with_panel(
        graph(
            "Retries",
            "Connects to another server or address after one had failed. Each costs a client up to connect_timeout: "
            "lower that, or mend the server that fails. Refused: retry_budget was spent, and the client was closed.",
            "cps",
            query(f"sum by (upstream) (rate(corelane_upstream_retries_total{{@, {OF}}}[@]))", "{{upstream}}"),
            query(
                f"sum by (upstream) (rate(corelane_upstream_retries_refused_total{{@, {OF}}}[@]))",
                "{{upstream}}, refused",
            ),
            steps=NONE_WANTED,
        )
    )


def failures(board):
    board.with_row(Row("Failures"))
    board.with_panel(
        graph(
            "Failures by reason",
            "refused: its process is down. timeout: its host, or the way to it. reset: it dies while accepting. "
            "unreachable: routing. resolve: DNS. local: this machine is out of ports, descriptors or memory. "
            "closed: it accepts and drops (with retry_budget only).",
            "cps",
            query(f"sum by (upstream, reason) (rate({FAILURES}[@]))", "{{upstream}} {{reason}}"),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "Failures by server",
            "Failed connects of each server. One server: mend it or take it out. All of an upstream at once: what "
            "they share (switch, DNS, deployment).",
            "cps",
            query(f"sum by (upstream, server) (rate({FAILURES}[@]))", SERVER),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "Ejections by server",
            "Times a second that a server was ejected, by cause, or spared as largest_share allows no more. connect_failures: see "
            "Failures by server; early_ends: it accepts and drops, so look at its log; slow_connects: it is overloaded. Spared "
            "all the time: many servers of it are in trouble.",
            "cps",
            query(
                f"sum by (upstream, server, cause) (rate(corelane_upstream_ejections_total{{@, {OF}}}[@]))",
                SERVER + " {{cause}}",
            ),
            query(
                f"sum by (upstream, server) (rate(corelane_upstream_ejections_spared_total{{@, {OF}}}[@]))",
                SERVER + " spared",
            ),
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        graph(
            "Upstreams in panic",
            "Instances that ignore ejections of an upstream, since less than panic_threshold of its servers would be left. Above 0: "
            "what is wrong is wrong with most of them, or with the way to them.",
            "short",
            query(f"sum by (upstream) (corelane_upstream_panic{{@, {OF}}})", "{{upstream}}"),
            steps=NONE_WANTED,
        )
    )


def checks(board):
    board.with_row(Row("Health checks"))
    board.with_panel(
        graph(
            "Health checks by result",
            "Checks a second, of upstreams with [upstreams.NAME.health]; empty without any. passed, or why they failed: as "
            "for connects. Fewer than servers over interval: servers that hang hold their own checks up.",
            "cps",
            query(f"sum by (upstream, result) (rate({CHECKS}[@]))", "{{upstream}} {{result}}"),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "Time of health checks by server",
            "How long the last check took, connect and answer, whatever it came to. A server whose checks take longer and longer is "
            "about to fail them: timeout of [upstreams.NAME.health] is where that is.",
            "s",
            query(
                f"max by (upstream, server) (corelane_upstream_health_check_duration_seconds{{@, {OF}}})",
                SERVER,
            ),
        )
    )
    board.with_panel(
        graph(
            "Failed share of health checks by server",
            "A server between 0 and 1 answers now and then: overloaded, or its accept queue is full. fall and rise of "
            "[upstreams.NAME.health] keep it from flapping.",
            "percentunit",
            query(
                f'1 - sum by (upstream, server) (rate(corelane_upstream_health_checks_total{{@, {OF}, result="passed"}}[@]))'
                f" / sum by (upstream, server) (rate({CHECKS}[@]))",
                SERVER,
            ),
            ceiling=1.0,
        )
    )
