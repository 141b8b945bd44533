"""What does each core do, and why is one busier than the others?"""

from common import NONE_WANTED, SHARE, bars, figure, given_or_not, graph, grid, history, new, query, timeline
from grafana_foundation_sdk.builders.dashboard import Row

UTILIZATION = "sum by (instance, core) (rate(corelane_core_cpu_seconds_total{@}[@]))"
CORE = "{{instance}} core {{core}}"
# Mean, and the greatest, of an instance's cores.
MEAN = f"avg by (instance) ({UTILIZATION})"
MAX = f"max by (instance) ({UTILIZATION})"


def build():
    board = new(
        "corelane-cores", "corelane / Cores", "What does each core do, and why is one busier than the others?"
    )
    for part in (utilization, advice, imbalance, why, work, scheduler, many):
        part(board)
    return board


def utilization(board):
    board.with_row(Row("Utilization"))
    board.with_panel(
        timeline(
            "Utilization by core",
            "Part of the time that each core's worker ran: green below 60 %, red above 90 %. One red band beside green "
            "ones: see Why. All red: more cores, or another instance.",
            "percentunit",
            UTILIZATION,
            CORE,
            steps=SHARE,
        )
    )
    board.with_panel(
        bars(
            "Utilization now",
            "The last second of each core. It jumps; what lasts is in the timeline above.",
            "percentunit",
            "sum by (instance, core) (corelane_core_utilization_ratio{@})",
            CORE,
            steps=SHARE,
        )
    )
    board.with_panel(
        graph(
            "Saturated time",
            "Part of the time that a core was above 95 %, by one-second samples: short peaks that the mean hides. Above "
            "0.1 on one core only, its connections wait while others idle: see Why.",
            "percentunit",
            query("sum by (instance, core) (rate(corelane_core_saturated_seconds_total{@}[@]))", CORE),
            ceiling=1,
        )
    )


def advice(board):
    board.with_row(Row("Advice"))
    board.with_panel(
        given_or_not(
            timeline(
                "Advice",
                "What the load calls for, once it has for a minute. enable-rebalance: enable [runtime.glommio.rebalance]. "
                "use-work-stealing: Tokio in that mode. lone-elephant: split the one heavy connection. add-cores: more CPUs "
                "or another instance. cpu-starved: CPUs that others leave alone.",
                "none",
                "max by (instance, advice) (corelane_advice{@})",
                "{{instance}} {{advice}}",
                steps=[("transparent", None), ("orange", 1)],
            )
        )
    )


def imbalance(board):
    board.with_row(Row("Imbalance"))
    board.with_panel(
        figure(
            "λ now",
            "Busiest core over the mean, less 1, in the last ten seconds; the worst instance. 0 is even, cores − 1 is "
            "one core doing all. Above 0.5 for long: see Why.",
            "none",
            "max(corelane_core_imbalance_ratio{@})",
            width=8,
            steps=[("green", None), ("yellow", 0.5), ("red", 1)],
            decimals=2,
        )
    )
    board.with_panel(
        figure(
            "Stranded now",
            "Busiest core less the mean: the part of a core that idle ones could have taken. It says whether λ "
            "matters: a high λ at little load strands nothing.",
            "percentunit",
            "max(corelane_core_stranded_ratio{@})",
            width=8,
            steps=[("green", None), ("yellow", 0.2), ("red", 0.4)],
        )
    )
    board.with_panel(
        figure(
            "Jain's index now",
            "1 is even, 1/cores is one core doing all; the worst instance. It looks at all cores where λ looks at the "
            "busiest: a low index with a low λ means that several cores idle.",
            "none",
            "min(corelane_core_fairness_ratio{@})",
            width=8,
            steps=[("red", None), ("yellow", 0.6), ("green", 0.8)],
            decimals=2,
        )
    )
    board.with_panel(
        graph(
            "λ over time",
            "From the counters, over the graph's resolution; 0 while the mean is below 2 %. Lasting under thread-per-core "
            "with few connections: see that [runtime.glommio.rebalance] is enabled, try work stealing, or fewer cores.",
            "none",
            query(f"({MAX} / ({MEAN} >= 0.02) - 1) or 0 * {MEAN}", "{{instance}}"),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Stranded over time",
            "Maximum less mean, of a core. What evening out the load would give to the busiest core's connections; "
            "below 0.2 it is not worth an effort.",
            "percentunit",
            query(f"{MAX} - {MEAN}", "{{instance}}"),
            width=8,
            steps=[("green", None), ("red", 0.4)],
        )
    )
    board.with_panel(
        graph(
            "Jain's index over time",
            "Over all cores; it has the value 1 while the mean is below 2 %. A step down at a deployment: compare "
            "what changed (connections by core, scheduler).",
            "none",
            query(
                f"(sum by (instance) ({UTILIZATION}) ^ 2 / (count by (instance) ({UTILIZATION}) "
                f"* sum by (instance) (({UTILIZATION}) ^ 2))) and {MEAN} >= 0.02 or 0 * {MEAN} + 1",
                "{{instance}}",
            ),
            width=8,
            ceiling=1,
        )
    )


def why(board):
    board.with_row(Row("Why"))
    board.with_panel(
        grid(
            "Why is a core busy?",
            "Compare the busiest core with the others. More connections or accepts: too many fell to it; work stealing "
            "evens that out, under glommio rebalancing does ([runtime.glommio.rebalance] enabled, by default true), and so "
            "do more connections. The same number of connections but far more bytes: one elephant flow, which no placement "
            "divides; give it a listener of its own with fewer shares. Run-queue wait: something else uses its CPU; move "
            "that away or leave the CPU out of cores. Migrations tell how much either moves.",
            ["instance", "core", "cpu"],
            [
                ("Utilization", "percentunit", UTILIZATION, SHARE),
                ("Connections", "short", "sum by (instance, core) (corelane_core_connections{@})", None),
                ("Accepts", "cps", "sum by (instance, core) (rate(corelane_core_accepts_total{@}[@]))", None),
                ("Bytes", "Bps", "sum by (instance, core) (rate(corelane_core_bytes_total{@}[@]))", None),
                ("Polls", "ops", "sum by (instance, core) (rate(corelane_core_polls_total{@}[@]))", None),
                (
                    "Run-queue wait",
                    "percentunit",
                    "sum by (instance, core) (rate(corelane_core_runqueue_wait_seconds_total{@}[@]))",
                    [("green", None), ("yellow", 0.05), ("red", 0.2)],
                ),
                (
                    "Migrations in",
                    "ops",
                    'sum by (instance, core) (rate(corelane_core_migrations_total{@, direction="in"}[@]))',
                    None,
                ),
                ("info", None, "sum by (instance, core, cpu) (corelane_core_info{@})", None),
            ],
            sort="Utilization",
        )
    )


def work(board):
    board.with_row(Row("Work of each core"))
    board.with_panel(
        graph(
            "Connections",
            "Connections that each core has. Lumpy with few connections under thread-per-core, since the kernel spreads "
            "them by a hash; it evens out with more.",
            "short",
            query("sum by (instance, core) (corelane_core_connections{@})", CORE),
        )
    )
    board.with_panel(
        graph(
            "Bytes",
            "Bytes that each core forwards, both directions. One core far above the others with as many connections "
            "has an elephant flow.",
            "Bps",
            query("sum by (instance, core) (rate(corelane_core_bytes_total{@}[@]))", CORE),
        )
    )
    board.with_panel(
        graph(
            "Accepts",
            "Connections that each core takes on a second. A core that takes on far fewer than the others may be stuck: "
            "see its utilization and run-queue wait.",
            "cps",
            query("sum by (instance, core) (rate(corelane_core_accepts_total{@}[@]))", CORE),
        )
    )
    board.with_panel(
        graph(
            "Migrations",
            "Live connections that moved between cores: by work stealing, or by glommio's rebalancing, which is on by "
            "default. Many a second cost caches. If the load is even anyway: instead of work stealing try mode per-core "
            "or glommio; under glommio raise threshold or interval of [runtime.glommio.rebalance], or set enabled = false.",
            "ops",
            query(
                "sum by (instance, core, direction) (rate(corelane_core_migrations_total{@}[@]))", CORE + " {{direction}}"
            ),
        )
    )
    board.with_panel(
        graph(
            "Run-queue wait",
            "Time that a core's worker could have run and waited for its CPU: stolen by others on this machine. Above "
            "0.2: move what shares the CPU, or leave that CPU out of [runtime] cores.",
            "percentunit",
            query("sum by (instance, core) (rate(corelane_core_runqueue_wait_seconds_total{@}[@]))", CORE),
            steps=[("green", None), ("red", 0.2)],
        )
    )
    board.with_panel(
        graph(
            "I/O workers",
            "CPU of the kernel's own io_uring threads for each core, in cores. It should be near 0: corelane asks for "
            "nothing that needs them. If it is not, please report it with the kernel's version.",
            "none",
            query("sum by (instance, core) (rate(corelane_core_iowq_cpu_seconds_total{@}[@]))", CORE),
            steps=NONE_WANTED,
        )
    )


def scheduler(board):
    board.with_row(Row("The scheduler's own"))
    busy = "sum by (instance, core) (rate(corelane_core_busy_seconds_total{@}[@]))"
    board.with_panel(
        graph(
            "Busy by the scheduler's account",
            "Time that the scheduler says it ran tasks. Compare it with utilization on one instance, never between "
            "schedulers. Far above utilization: the worker was kept from its CPU; see Run-queue wait.",
            "percentunit",
            query(busy, CORE),
        )
    )
    board.with_panel(
        graph(
            "Polls",
            "Times a second that each core ran a connection. Utilization divided by it is the cost of one turn: when "
            "that rises, turns got longer (bulk) or the CPU slower.",
            "ops",
            query("sum by (instance, core) (rate(corelane_core_polls_total{@}[@]))", CORE),
        )
    )
    board.with_panel(
        graph(
            "Task queues' run time (glommio)",
            "Time that each listener's task queue ran, over all cores. When a core is saturated and a listener that "
            "matters gets too little, raise its shares or lower the others'.",
            "none",
            query(
                "sum by (instance, listener) (rate(corelane_glommio_task_queue_runtime_seconds_total{@}[@]))",
                "{{instance}} {{listener}}",
            ),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "Task queues' shares (glommio)",
            "CPU shares of each listener, as part of the sum: what it is sure of when cores are saturated. Otherwise "
            "a queue may run for more.",
            "percentunit",
            query(
                "sum by (instance, listener) (corelane_glommio_task_queue_shares{@}) / on (instance) group_left () "
                "sum by (instance) (corelane_glommio_task_queue_shares{@})",
                "{{instance}} {{listener}}",
            ),
            ceiling=1,
        )
    )
    board.with_panel(
        graph(
            "Task queues chosen (glommio)",
            "Times a second that the scheduler chose each listener's queue. Rare choices with much run time are long "
            "turns: a latency for the listener that waits shortens them.",
            "ops",
            query(
                "sum by (instance, listener) (rate(corelane_glommio_task_queue_selected_total{@}[@]))",
                "{{instance}} {{listener}}",
            ),
            width=8,
        )
    )
    enters = "sum by (instance, core) (rate(corelane_glommio_ring_enters_total{@}[@]))"
    sleeps = "sum by (instance, core) (rate(corelane_glommio_ring_sleeps_total{@}[@]))"
    completions = "sum by (instance, core) (rate(corelane_glommio_ring_completions_total{@}[@]))"
    board.with_panel(
        graph(
            "Completions per enter (glommio)",
            "Completions that each system call into a core's ring brought. About 1: each message wakes the core by "
            "itself, and costs most; fewer cores would do. It rises with the load; where it doesn't while utilization "
            "is high, see Run-queue wait.",
            "none",
            query(f"{completions} / ({enters} > 0)", CORE),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Overflows and rearms (glommio)",
            "System calls a second before which a core's completions had no room in its ring, and watches that the "
            "kernel ended for it. Nothing is lost, but CPU is: raise [runtime.glommio] ring_depth.",
            "ops",
            query("sum by (instance, core) (rate(corelane_glommio_ring_overflows_total{@}[@]))", CORE + " overflows"),
            query("sum by (instance, core) (rate(corelane_glommio_ring_rearms_total{@}[@]))", CORE + " rearms"),
            width=8,
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        graph(
            "Enters and sleeps (glommio)",
            "System calls a second into each core's ring, and those that were allowed to sleep. Many sleeps with high "
            "utilization: the load comes in small pieces, each of which wakes the core; fewer cores would do.",
            "ops",
            query(enters, CORE + " enters"),
            query(sleeps, CORE + " sleeps"),
            width=6,
        )
    )
    board.with_panel(
        graph(
            "Parks (tokio)",
            "Times a second that a worker found nothing to do and slept. Many with high utilization: the load comes in "
            "small pieces, each of which wakes a thread; fewer cores would do.",
            "ops",
            query("sum by (instance, core) (rate(corelane_tokio_park_total{@}[@]))", CORE),
            width=6,
        )
    )
    board.with_panel(
        graph(
            "Steals (tokio)",
            "Tasks a second that each worker took from another's queue: what evens out the load under work stealing. Many "
            "with an even load cost caches: try mode per-core or glommio. Empty unless corelane was built with "
            "RUSTFLAGS=\"--cfg tokio_unstable\".",
            "ops",
            query("sum by (instance, core) (rate(corelane_tokio_steal_total{@}[@]))", CORE),
            width=6,
        )
    )
    board.with_panel(
        graph(
            "Queue and tasks (tokio)",
            "Tasks that wait in the queue shared by all workers, and all tasks. A queue that stays above 0 means that "
            "every worker is busy: more cores, or another instance.",
            "short",
            query("sum by (instance) (corelane_tokio_global_queue_depth{@})", "{{instance}} waiting"),
            query("sum by (instance) (corelane_tokio_alive_tasks{@})", "{{instance}} tasks"),
            width=6,
        )
    )


def many(board):
    row = Row("More than 32 cores")
    row.with_panel(
        history(
            "Utilization by core",
            "The timeline above, drawn so that many cores have room. Read columns: a column that is red throughout is "
            "a load that all cores had.",
            "percentunit",
            UTILIZATION,
            CORE,
            steps=SHARE,
        )
    )
    board.with_row(row)
