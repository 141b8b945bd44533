"""Is the proxy well, and what does it carry?"""

from common import NONE_WANTED, SHARE, figure, graph, grid, heat, new, query, timeline, up_and_down, variable
from grafana_foundation_sdk.builders.dashboard import Row

UTILIZATION = "rate(corelane_core_cpu_seconds_total{@}[@])"
ACCESS_LOG_DROPS = "rate(corelane_access_log_dropped_total{@}[@])"
LOG_DROPS = "rate(corelane_log_lines_dropped_total{@}[@])"
OF = 'listener=~"$listener"'
LIMITED = f"corelane_listener_connections{{@, {OF}}} / corelane_listener_connections_limit{{@, {OF}}}"
# Of a listener's limit of connections: when to look, and when to act.
NEAR = [("green", None), ("yellow", 0.6), ("red", 0.8)]


def build():
    board = new("corelane-overview", "corelane / Overview", "Is the proxy well, and what does it carry?")
    variable(
        board,
        "listener",
        'label_values(corelane_listener_connections{job=~"$job", instance=~"$instance"}, listener)',
    )
    for part in (now, traffic, clients, ends, latency, process):
        part(board)
    return board


def now(board):
    board.with_row(Row("Now"))
    board.with_panel(
        figure(
            "Instances up",
            "Instances that Prometheus can scrape. Fewer than you run: look whether the process runs, and whether its "
            "admin address can be reached.",
            "short",
            "sum(up{@})",
            steps=[("red", None), ("green", 1)],
        )
    )
    board.with_panel(
        figure(
            "Connections",
            "Open connections over all listeners. Fullest listener tells how near one of them is to its limit.",
            "short",
            f"sum(corelane_listener_connections{{@, {OF}}})",
        )
    )
    board.with_panel(
        figure(
            "Throughput",
            "Bytes forwarded a second, both directions. A sudden fall with connections still open means that servers "
            "or clients stall: see Upstreams.",
            "Bps",
            f"sum(rate(corelane_listener_bytes_total{{@, {OF}}}[@]))",
        )
    )
    board.with_panel(
        figure(
            "Failures",
            "Failed connects and rejections a second. Above 0: the panels under Ends say which and why.",
            "cps",
            f"sum(rate(corelane_upstream_connect_failures_total{{@}}[@])) + sum(rate(corelane_listener_rejected_total{{@, {OF}}}[@]))",
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        figure(
            "Busiest core",
            "Utilization of the busiest core. Near 1 its connections wait for it: the dashboard Cores tells whether "
            "the others idle.",
            "percentunit",
            f"max({UTILIZATION})",
            steps=SHARE,
        )
    )
    board.with_panel(
        figure(
            "Imbalance λ",
            "The greatest λ of all instances: busiest core over the mean, less 1. 0 is even; cores − 1 means that one "
            "core does all. When it stays above 0.5 under load, see the table Why of the dashboard Cores.",
            "none",
            "max(corelane_core_imbalance_ratio{@})",
            steps=[("green", None), ("yellow", 0.5), ("red", 1)],
            decimals=2,
        )
    )
    board.with_panel(
        figure(
            "Fullest listener",
            "Open connections over max_connections, of the listener that is nearest to its limit. At 1 clients are "
            "rejected: raise the limit or add an instance. Empty where no listener has a limit.",
            "percentunit",
            f"max({LIMITED})",
            width=8,
            steps=NEAR,
        )
    )
    board.with_panel(
        figure(
            "Advice given",
            "How much advice the instances give about their cores. Above 0: the timeline Advice of the dashboard Cores "
            "says which, since when, and what to do.",
            "short",
            "sum(corelane_advice{@})",
            width=8,
            steps=[("green", None), ("yellow", 1)],
        )
    )
    board.with_panel(
        figure(
            "Log lines dropped",
            "Lines a second that the access log and the log on stderr lost. Above 0: see Dropped log lines under Process.",
            "cps",
            f"sum({ACCESS_LOG_DROPS}) + sum({LOG_DROPS})",
            width=8,
            steps=NONE_WANTED,
        )
    )


def traffic(board):
    board.with_row(Row("Traffic"))
    board.with_panel(
        graph(
            "Bytes by listener",
            "Bytes forwarded, counted while connections run; in is from clients, out to clients. To find who causes a "
            "peak, compare with the connections beside it: bytes without new connections are long transfers.",
            "Bps",
            query(
                f"sum by (listener, direction) (rate(corelane_listener_bytes_total{{@, {OF}}}[@]))", "{{listener}} {{direction}}"
            ),
        )
    )
    board.with_panel(
        graph(
            "Open connections by listener",
            "Connections that are open. A steady rise without more traffic is a client that leaks connections: lower "
            "the listener's idle_timeout until it is mended.",
            "short",
            query(f"sum by (listener) (corelane_listener_connections{{@, {OF}}})", "{{listener}}"),
        )
    )
    board.with_panel(
        graph(
            "Connections over the limit by listener",
            "Open connections over the listener's max_connections. A slow rise to 1 calls for a higher limit or another "
            "instance; a jump, for a look at who opens so many (/connections). Listeners without a limit are not shown.",
            "percentunit",
            query(f"max by (instance, listener) ({LIMITED})", "{{instance}} {{listener}}"),
            steps=NEAR,
            ceiling=1,
        )
    )
    board.with_panel(
        graph(
            "New connections by listener",
            "Connections taken on a second. If it is high while bytes are few, clients reconnect for each request: a "
            "pool on their side saves most of the work.",
            "cps",
            query(f"sum by (listener) (rate(corelane_listener_connections_total{{@, {OF}}}[@]))", "{{listener}}"),
        )
    )
    board.with_panel(
        graph(
            "Spliced share of bytes",
            "Part of the bytes that went through a pipe, uncopied. Bulk should be near 1; small messages are copied on "
            "purpose. Bulk near 0: check that splice is not switched off in the listener.",
            "percentunit",
            query(
                f"sum by (listener) (rate(corelane_listener_spliced_bytes_total{{@, {OF}}}[@])) "
                f"/ (sum by (listener) (rate(corelane_listener_bytes_total{{@, {OF}}}[@])) > 0)",
                "{{listener}}",
            ),
            ceiling=1,
        )
    )


def clients(board):
    board.with_row(Row("Who comes, where to"))
    board.with_panel(
        graph(
            "Connections by route",
            "Connections a second that took a route; default took none. A canary that gets none: its weight is 0, or an "
            "earlier route takes its clients. A new share of default: a name that no route has yet.",
            "cps",
            query(
                f"sum by (listener, route) (rate(corelane_listener_route_connections_total{{@, {OF}}}[@]))",
                "{{listener}} {{route}}",
            ),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "What clients say first",
            "Clients a second by what was heard of them before they had a server. header, local, plain, hello: as it should "
            "be; probe: a balancer's check. timeout: they wait for the server to speak, or are slow. no_header, untrusted: "
            "correct the balancer, or trusted. no_hello, bad_hello: they speak no TLS.",
            "cps",
            query(
                f"sum by (listener, result) (rate(corelane_listener_prologue_total{{@, {OF}}}[@]))",
                "{{listener}} {{result}}",
            ),
        )
    )
    board.with_panel(
        graph(
            "Turned away share by listener",
            "Part of a listener's clients that are closed at once, for any reason. Near 1: it serves nobody, as after a slip in "
            "allow, or an attack is on; Rejections by listener has the reasons.",
            "percentunit",
            query(
                f"sum by (listener) (rate(corelane_listener_rejected_total{{@, {OF}}}[@])) "
                f"/ (sum by (listener) (rate(corelane_listener_rejected_total{{@, {OF}}}[@])) "
                f"+ sum by (listener) (rate(corelane_listener_connections_total{{@, {OF}}}[@])) > 0)",
                "{{listener}}",
            ),
            width=8,
            ceiling=1,
        )
    )
    board.with_panel(
        graph(
            "Sources by listener",
            "Sources that have connections now, where max_connections_per_source is written. Many with one connection each "
            "beside rejections by rate: a flood from many addresses, which only max_rate holds back.",
            "short",
            query(f"sum by (listener) (corelane_listener_sources{{@, {OF}}})", "{{listener}}"),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Entries of lists",
            "Entries in force of each file that allow or deny names. A sudden fall: somebody wrote half of a file; its last "
            "version is in force until it is replaced.",
            "short",
            query("max by (file) (corelane_client_list_entries{@})", "{{file}}"),
            width=8,
        )
    )
    board.with_panel(
        up_and_down(
            timeline(
                "Lists read",
                "Whether each file that allow or deny names was in order when it was read last, on every instance. Down: what "
                "was read before is in force; the finding on the live page and the log say which line is wrong.",
                "short",
                "min by (file) (corelane_client_list_last_read_success{@})",
                "{{file}}",
                height=5,
                steps=[("red", None), ("green", 1)],
            )
        )
    )


def ends(board):
    board.with_row(Row("Ends and errors"))
    board.with_panel(
        graph(
            "Ends by cause",
            "Why connections ended. finished is the orderly way; server_reset and connect_failed point to the servers, "
            "client_reset and client_error to the clients or the network between, idle_timeout to the listener's limit.",
            "cps",
            query(f"sum by (cause) (rate(corelane_listener_ended_total{{@, {OF}}}[@]))", "{{cause}}"),
            stack=True,
        )
    )
    board.with_panel(
        graph(
            "Rejections by listener",
            "Connections closed at once. max_connections: raise the limit or find the client that opens so many. "
            "denied: who is not let in by allow and deny. route, no_route: what routes refuse. descriptors: raise the limit of open files (LimitNOFILE); clients wait meanwhile. "
            "no_header, untrusted and others: what clients said before they had a server was not what the listener takes.",
            "cps",
            query(
                f"sum by (listener, reason) (rate(corelane_listener_rejected_total{{@, {OF}}}[@]))", "{{listener}} {{reason}}"
            ),
            query(
                "sum by (listener, result) (rate(corelane_listener_prologue_total"
                f'{{@, {OF}, result!~"header|local|plain|probe|hello"}}[@]))',
                "{{listener}} {{result}}",
            ),
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        graph(
            "Failed connects by reason",
            "refused: the server's process is down. timeout: its host or the way to it. resolve: its name. local: this "
            "machine is out of ports, descriptors or memory. The dashboard Upstreams names the server.",
            "cps",
            query(
                "sum by (upstream, reason) (rate(corelane_upstream_connect_failures_total{@}[@]))",
                "{{upstream}} {{reason}}",
            ),
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        graph(
            "Accept queue",
            "Connections that wait for a worker to accept them, and those that the kernel dropped since the queue was "
            "full. Waiting all the time: cores are saturated or stuck. Dropped: raise backlog and net.core.somaxconn.",
            "short",
            query(f"sum by (listener) (corelane_listener_accept_queue{{@, {OF}}})", "{{listener}} waiting"),
            query(
                f"sum by (listener) (rate(corelane_listener_accept_drops_total{{@, {OF}}}[@]))", "{{listener}} dropped a second"
            ),
        )
    )


def latency(board):
    board.with_row(Row("Latency"))
    quantile = "histogram_quantile({}, sum by (le) (rate(corelane_upstream_connect_seconds_bucket{{@}}[@])))"
    board.with_panel(
        graph(
            "Time to connect to servers",
            "Quantiles over all upstreams, of connects that worked. A rise of all of them: the network or a saturated "
            "core here; of the 99th only: one server, which Upstreams shows.",
            "s",
            query(quantile.format("0.5"), "median"),
            query(quantile.format("0.95"), "95th"),
            query(quantile.format("0.99"), "99th"),
        )
    )
    board.with_panel(
        heat(
            "Duration of connections",
            "How long the connections lasted that ended then. A new band of short ones beside long ones: clients fail "
            "and retry; see Ends by cause.",
            "s",
            f"sum by (le) (increase(corelane_listener_connection_duration_seconds_bucket{{@, {OF}}}[@]))",
        )
    )


def process(board):
    board.with_row(Row("Process"))
    board.with_panel(
        graph(
            "Descriptors in use",
            "Open descriptors over the limit. Each connection takes two. Near 1: raise LimitNOFILE (or ulimit -n) and "
            "restart, before accepting has to pause.",
            "percentunit",
            query("process_open_fds{@} / process_max_fds{@}", "{{instance}}"),
            width=8,
            steps=[("green", None), ("yellow", 0.6), ("red", 0.8)],
            ceiling=1,
        )
    )
    board.with_panel(
        graph(
            "Resident memory",
            "Memory in RAM. It follows the number of connections, and those whose destination is slow (64 KiB a "
            "direction at most). Growth without either is a leak: please report it.",
            "bytes",
            query("process_resident_memory_bytes{@}", "{{instance}}"),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "CPU",
            "CPU of the whole process in cores, the kernel's io_uring workers included. Much more than the sum of the "
            "cores' utilization: see I/O workers on the dashboard Cores.",
            "none",
            query("rate(process_cpu_seconds_total{@}[@])", "{{instance}}"),
            width=8,
        )
    )
    board.with_panel(
        graph(
            "Dropped log lines",
            "Lines that were lost, a second. access log: its file is on a full or slow disk, or [access_log] queue is too "
            "short for bursts. stderr: whoever reads it (journald, a container's log) stands still or limits the rate.",
            "cps",
            query(f"sum by (instance) ({ACCESS_LOG_DROPS})", "{{instance}} access log"),
            query(f"sum by (instance) ({LOG_DROPS})", "{{instance}} stderr"),
            steps=NONE_WANTED,
        )
    )
    board.with_panel(
        grid(
            "Instances",
            "What runs where. Versions that differ: finish the roll-out. Reload 0: the last configuration was refused; "
            "`corelane check FILE` says why. A recent start that you did not order: look at the log.",
            ["instance", "version", "revision", "scheduler", "mode", "pinned"],
            [
                ("build", None, "sum by (instance, version, revision) (corelane_build_info{@})", None),
                ("runtime", None, "sum by (instance, scheduler, mode, pinned) (corelane_runtime_info{@})", None),
                (
                    "reload",
                    "bool_yes_no",
                    "sum by (instance) (corelane_config_last_reload_success{@})",
                    [("red", None), ("green", 1)],
                ),
                (
                    "configured",
                    "dateTimeFromNow",
                    "sum by (instance) (corelane_config_last_reload_timestamp_seconds{@}) * 1000",
                    None,
                ),
                ("started", "dateTimeFromNow", "sum by (instance) (process_start_time_seconds{@}) * 1000", None),
            ],
            height=7,
        )
    )
