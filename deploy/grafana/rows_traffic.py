"""What the dashboard shows of requests: how many, how fast, in which batches, and what went wrong."""

from panel import VERSION, Panel, Row
from promql import HERE, MODEL, ON, OURS, RATE, machine_per_1000, now, quantile, rate, rise

FAILED = f"requests_total{{{ON}, {OURS}}}"
ALL = f"sum(rate(penstock_requests_total{{{ON}}}{RATE}))"
OURS_ALL = f"sum(rate(penstock_{FAILED}{RATE}))"

NOW = Row(
    "Now",
    4,
    (
        Panel("Requests", "Requests a second, answered or not.", ((ALL, ""),), "reqps", "stat", 4),
        Panel(
            "p99",
            "99th percentile of the time to answer, all that is selected together.",
            ((quantile(0.99), ""),),
            "s",
            "stat",
            4,
        ),
        Panel(
            "Errors",
            "Part of the requests that failed on the server's side, overload aside.",
            ((f"({OURS_ALL} or vector(0)) / {ALL}", ""),),
            "percentunit",
            "stat",
            4,
            limits=(("orange", 0.001), ("red", 0.01)),
        ),
        Panel(
            "Rows waiting",
            "Rows in the queues now.",
            ((f"sum(penstock_queue_rows{{{ON}}})", ""),),
            "short",
            "stat",
            4,
        ),
        Panel(
            "Full cost of 1,000 queries",
            "All that the machines cost in the window, idle or busy, by the queries that they answered.",
            ((machine_per_1000("machine_cost_total", "currency"), "{{currency}}"),),
            "none",
            "stat",
            4,
        ),
        Panel(
            "Full energy of 1,000 queries",
            "All that the machines took in the window, idle or busy; the legend says how it is known.",
            ((machine_per_1000("machine_energy_joules_total", "method"), "{{method}}"),),
            "joule",
            "stat",
            4,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    8,
    (
        Panel(
            "Requests",
            "Requests a second by version, answered or not.",
            ((rate("requests_total"), VERSION),),
            "reqps",
        ),
        Panel(
            "Bytes",
            "Bodies of requests (in) and of answers (out), over the wire.",
            (
                (rate("received_bytes_total", "model"), "{{model}} in"),
                (rate("sent_bytes_total", "model"), "{{model}} out"),
            ),
            "Bps",
        ),
        Panel(
            "Versions",
            "The state that each version is in, and the servers on which it is.",
            ((f"count by (model, version, state) (penstock_model_state{{{ON}}})", ""),),
            "none",
            "table",
        ),
    ),
)

LATENCY = Row(
    "Latency",
    8,
    (
        Panel(
            "p99 against its target",
            "By version, to within a step of the buckets; the target where there is one.",
            (
                (quantile(0.99, "model, version, "), VERSION),
                (f"max by (model, version) (penstock_target_p99_seconds{{{ON}}})", f"{VERSION} target"),
            ),
            "s",
        ),
        Panel(
            "Percentiles",
            "Of all that is selected together.",
            ((quantile(0.5), "p50"), (quantile(0.95), "p95"), (quantile(0.99), "p99")),
            "s",
        ),
        Panel(
            "Time to answer",
            "How many answers took how long.",
            ((rise("request_seconds_bucket", "le", window=RATE), "{{le}}"),),
            "s",
            "heatmap",
            least=None,
        ),
        Panel(
            "Over the target",
            "Part of the answers that came later than the target; a 99th percentile allows 1 %.",
            ((f"{rate('requests_over_target_total')} / {rate('request_seconds_count')}", VERSION),),
            "percentunit",
            wide=12,
        ),
        Panel(
            "Part of the time that is waiting",
            "Seconds in the queue, of all seconds from arrival to answer.",
            ((f"{rate('queue_seconds_sum')} / {rate('request_seconds_sum')}", VERSION),),
            "percentunit",
            wide=12,
            most=1,
        ),
    ),
)

BATCHING = Row(
    "Batching and queue",
    8,
    (
        Panel(
            "Rows in a batch",
            "Mean over the batches that were run.",
            ((f"{rate('rows_total')} / {rate('batches_total')}", VERSION),),
        ),
        Panel(
            "Batches by size",
            "How many batches had how many rows.",
            ((rise("batch_rows_bucket", "le", window=RATE), "{{le}}"),),
            "none",
            "heatmap",
            least=None,
        ),
        Panel("Rows waiting", "In the queue, at each scrape.", ((now("queue_rows"), VERSION),), stacked=True),
        Panel(
            "Instances at work",
            "Part of the time that a version's instances run a batch; at 1 they can do no more.",
            ((f"{rate('compute_seconds_sum')} / {now('model_instances')}", VERSION),),
            "percentunit",
            wide=12,
            most=1,
        ),
        Panel(
            "Time of a batch",
            "99th percentile of the time that the model runs.",
            ((quantile(0.99, "model, version, ", "compute_seconds"), VERSION),),
            "s",
            wide=12,
        ),
    ),
)

ERRORS = Row(
    "Errors",
    8,
    (
        Panel(
            "By reason",
            "Requests that were not answered; docs/guide/metrics.md says what each reason means.",
            ((rate("requests_total", "reason", f'{HERE}, outcome="error"'), "{{reason}}"),),
            "reqps",
            stacked=True,
        ),
        Panel(
            "Errors of the server",
            "Part of a version's requests that failed here, overload aside.",
            ((f"{rate('requests_total', where=f'{ON}, {OURS}')} / {rate('requests_total')}", VERSION),),
            "percentunit",
        ),
        Panel(
            "Processes and loads",
            "Processes that were started again, models that were unloaded for room, loads that failed.",
            (
                (rise("instance_restarts_total", window=RATE), "{{model}} restarted"),
                (rise("model_evictions_total", where=MODEL, window=RATE), "{{model}} evicted"),
                (
                    rise("model_loads_total", where=f'{MODEL}, outcome="error"', window=RATE),
                    "{{model}} not loaded",
                ),
            ),
            "none",
            stacked=True,
        ),
    ),
)

ROWS = (NOW, TRAFFIC, LATENCY, BATCHING, ERRORS)
