"""Which scheduler suits this traffic? Instances that run different ones, side by side."""

from common import INFO, NONE_WANTED, SHARE, figure, graph, grid, new, query
from grafana_foundation_sdk.builders.dashboard import Row

BY = "by (scheduler, mode)"
NAME = "{{scheduler}} {{mode}}"


def of(expr: str) -> str:
    """`expr`, a sum by job and instance and more, with the labels of the scheduler that runs there."""
    return f"{expr} * on (job, instance) group_left (scheduler, mode) {INFO}"


CPU = of("sum by (job, instance) (rate(corelane_core_cpu_seconds_total{@}[@]))")
BYTES = of("sum by (job, instance) (rate(corelane_listener_bytes_total{@}[@]))")
NEW = of("sum by (job, instance) (rate(corelane_listener_connections_total{@}[@]))")
POLLS = of("sum by (job, instance) (rate(corelane_core_polls_total{@}[@]))")


def build():
    board = new(
        "corelane-schedulers",
        "corelane / Schedulers",
        "Which scheduler suits this traffic? Give a part of it to an instance with another scheduler, and compare here. "
        "Only costs for the same work can be compared, so the figures are for a byte, a connection and a turn.",
    )
    for part in (who, load, cost, evenness, service):
        part(board)
    return board


def who(board):
    board.with_row(Row("Who runs what"))
    board.with_panel(
        grid(
            "Instances",
            "What each instance runs. A comparison needs instances of the same version, on like machines, with traffic "
            "divided by chance.",
            ["instance", "scheduler", "mode", "pinned"],
            [
                ("info", None, "sum by (instance, scheduler, mode, pinned) (corelane_runtime_info{@})", None),
                ("Cores", "short", "count by (instance) (corelane_core_info{@})", None),
                ("Connections", "short", "sum by (instance) (corelane_listener_connections{@})", None),
                (
                    "CPU",
                    "percentunit",
                    "avg by (instance) (rate(corelane_core_cpu_seconds_total{@}[@]))",
                    SHARE,
                ),
                ("λ", "none", "sum by (instance) (corelane_core_imbalance_ratio{@})", None),
            ],
            width=16,
            height=8,
        )
    )
    board.with_panel(
        figure(
            "Instances by scheduler",
            "How many instances run each. One a scheduler is a canary: wait for a whole day of traffic before you "
            "believe a difference.",
            "short",
            f"count {BY} ({INFO})",
            NAME,
            width=8,
        ).height(8)
    )


def load(board):
    board.with_row(Row("What each has to do"))
    board.with_panel(
        graph(
            "Connections by scheduler",
            "Open connections. If the schedulers have very different numbers an instance, compare only the costs below.",
            "short",
            query(f"sum {BY} ({of('sum by (job, instance) (corelane_listener_connections{@})')})", NAME),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Bytes by scheduler",
            "Bytes forwarded a second. Should be in proportion to the instances; if not, the load balancer before them "
            "favours one.",
            "Bps",
            query(f"sum {BY} ({BYTES})", NAME),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "CPU by scheduler",
            "CPU of the workers, in cores. On its own it says little; divided by the work it is the row below.",
            "none",
            query(f"sum {BY} ({CPU})", NAME),
            width=8,
        )
    )


def cost(board):
    board.with_row(Row("What the same work costs"))
    board.with_panel(
        graph(
            "CPU for a gigabyte",
            "CPU seconds of the workers for 10⁹ bytes forwarded. The figure for bulk: the lower scheduler suits it, if "
            "the difference lasts.",
            "s",
            query(f"1e9 * sum {BY} ({CPU}) / (sum {BY} ({BYTES}) > 0)", NAME),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "CPU for a connection",
            "CPU seconds of the workers for each new connection, with all that it did. The figure for short "
            "connections; it says nothing where they last for hours.",
            "s",
            query(f"sum {BY} ({CPU}) / (sum {BY} ({NEW}) > 0)", NAME),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "CPU for a turn",
            "CPU seconds for each time that a connection was run. The figure for small messages: about two turns are a "
            "request and its answer.",
            "s",
            query(f"sum {BY} ({CPU}) / (sum {BY} ({POLLS}) > 0)", NAME),
            width=8,
        )
    )


def evenness(board):
    board.with_row(Row("How even the cores are"))
    board.with_panel(
        graph(
            "λ by scheduler",
            "Mean λ of the instances. A thread-per-core scheduler with a lasting λ above 0.5 loses to work stealing on "
            "this traffic, unless its cost above is lower by more.",
            "none",
            query(f"avg {BY} ({of('sum by (job, instance) (corelane_core_imbalance_ratio{@})')})", NAME),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Busiest core by scheduler",
            "Utilization of the busiest core of all instances. This core decides the latency: the scheduler whose "
            "busiest core is lower has more headroom.",
            "percentunit",
            query(
                f"max {BY} ({of('max by (job, instance) (rate(corelane_core_cpu_seconds_total{@}[@]))')})",
                NAME,
            ),
            width=8,
            steps=SHARE,
            ceiling=1,
        )
    )
    board.with_panel(
        graph(
            "Migrations by scheduler",
            "Live connections that moved between cores a second: what work stealing and glommio's rebalancing pay for "
            "evenness. Far more under one of them with an even load: see Migrations of the dashboard Cores. 0 in mode "
            "per-core.",
            "ops",
            query(
                f"sum {BY} ("
                + of('sum by (job, instance) (rate(corelane_core_migrations_total{@, direction="in"}[@]))')
                + ")",
                NAME,
            ),
            width=8,
        )
    )


def service(board):
    board.with_row(Row("What clients notice"))
    board.with_panel(
        graph(
            "Slowest per cent of connects",
            "99th percentile of the time to connect to servers. With the same servers a difference comes from cores "
            "that are late to look: compare the busiest cores.",
            "s",
            query(
                f"histogram_quantile(0.99, sum by (scheduler, mode, le) ("
                + of("sum by (job, instance, le) (rate(corelane_upstream_connect_seconds_bucket{@}[@]))")
                + "))",
                NAME,
            ),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Waiting to be accepted",
            "Connections in the kernel's queues. With thread-per-core, a busy core's queue waits though others idle.",
            "short",
            query(f"sum {BY} ({of('sum by (job, instance) (corelane_listener_accept_queue{@})')})", NAME),
            width=8,
        )
    )
    failed = of("sum by (job, instance) (rate(corelane_upstream_connect_failures_total{@}[@]))")
    rejected = of("sum by (job, instance) (rate(corelane_listener_rejected_total{@}[@]))")
    board.with_panel(
        graph(
            "Failures by scheduler",
            "Failed connects and rejections a second. The scheduler should make no difference here: if it does, compare "
            "the configurations first.",
            "cps",
            query(f"sum {BY} ({failed})", NAME + " failed"),
            query(f"sum {BY} ({rejected})", NAME + " rejected"),
            width=8,
            steps=NONE_WANTED,
        )
    )
