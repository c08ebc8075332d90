"""A replica as the scaler sees it: a page of metrics over HTTP, with figures that a test sets."""

import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from penstock.cluster.scaler.point import Point

T0 = 1_700_000_000.0
"""Some moment, for tests that make their own time."""


def metrics(
    asked=0.0,
    late=0.0,
    ready=1.0,
    model="m",
    started=1.0,
    carries=0.0,
    target=0.0,
    startup=0.0,
    rows=1.0,
    **refused,
):
    """A page; ``refused``: errors by reason."""
    own = f'model="{model}",version="1"'
    lines = [
        "# TYPE penstock_requests_total counter",
        f'penstock_requests_total{{{own},outcome="ok",reason=""}} {asked}',
        *(
            f'penstock_requests_total{{{own},outcome="error",reason="{reason}"}} {count}'
            for reason, count in refused.items()
        ),
        f"penstock_rows_total{{{own}}} {asked * rows}",
        f"penstock_requests_over_target_total{{{own}}} {late}",
        f"penstock_model_ready{{{own}}} {ready}",
        f"penstock_queue_rows{{{own}}} 0",
        f"penstock_compute_seconds_sum{{{own}}} {asked * 0.002}",
        f"penstock_compute_seconds_count{{{own}}} {asked}",
        f"process_start_time_seconds {started}",
        'penstock_something_else{model="m"} 7',
    ]
    lines += [f"penstock_replica_carries{{{own}}} {carries}"] if carries else []
    lines += [f"penstock_startup_seconds{{{own}}} {startup}"] if startup else []
    lines += [f"penstock_target_p99_seconds{{{own}}} {target}"] if target else []
    return "\n".join(lines) + "\n"


def point(at, asked=0.0, **given):
    """Of a replica that is ready, ``at`` seconds after T0."""
    usual = {"started": T0 - 1000, "ready": True, "known": True, "run_s": 0.01}
    return Point(at=T0 + at, asked={"1|ok|": asked}, **usual | given)


@contextmanager
def answering(page, context=None):
    """``page()`` is the text, or bytes, or None for a connection that is cut; gives the server's port."""

    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.form = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
            body = page(self)
            if body is None:
                self.close_connection = True
                return
            body = body.encode() if isinstance(body, str) else body
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are gone, or do not trust us, are what is tested
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Growing:
    """A page whose requests grow at ``rate`` each second."""

    def __init__(self, rate, **given):
        self.rate = rate
        self.given = {"carries": 10.0, "target": 0.05, "started": time.time() - 1000} | given
        self.body = None
        self._asked, self._at = 0.0, time.monotonic()

    def __call__(self, _):
        now = time.monotonic()
        self._asked += self.rate * (now - self._at)
        self._at = now
        return metrics(self._asked, **self.given) if self.body is None else self.body
