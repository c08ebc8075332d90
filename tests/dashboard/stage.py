"""A server that speaks to the page as Penstock does, with made-up figures and without Penstock.

``python -m tests.dashboard.stage 100 8`` shows it to a browser, with so many models and rollouts.
"""

import json
import math
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from urllib.parse import unquote, urlsplit

from tests.dashboard import rollouts, scaling

STATIC = Path(__file__).parents[2] / "src/penstock/dashboard/static"
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
NAMES = ["resnet50", "minilm-embed", "fraud-xgb", "bert-ner", "yolo11n", "churn", "whisper-tiny", "ranker"]
ENGINES = ["onnxruntime_onnx", "openvino", "pytorch_torchscript", "xgboost", "sklearn"]
STRICT = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICY = {"Content-Security-Policy": STRICT}
STATES = {
    7: ("UNAVAILABLE", "no engine 'onx'; have onnx, openvino, torch"),
    11: ("LOADING", ""),
    13: ("COLD", ""),
}


def model(i, now, name=""):
    """The ``i``-th made-up model at a time in seconds."""
    dice = Random(i)
    state, reason = STATES.get(i, ("READY", ""))
    made = {"name": name or f"{NAMES[i % 8]}{'' if i < 8 else f'-{i:02}'}", "version": str(1 + i % 3)}
    made |= {"state": state, "platform": ENGINES[i % 5], "device": "cpu", "live": i % 4 != 3}
    if reason:
        made["reason"] = reason
    if state != "READY":
        return made
    made |= {
        "isolation": ["thread", "inline", "process"][i % 3],
        "instances": 1 + i % 4,
        "threads": 1 + i % 2,
    }
    made |= {"batched": i % 6 != 5, "batch_cap": 64, "memory_bytes": 10**7 * (1 + i), "run_ms": 2.1 + i}
    made |= {"requests": int(10_000 * dice.random() + now % 1000)}
    if i % 5 != 4:
        made |= traffic(dice, now)
    return made


def traffic(dice, now):
    base = 3 * 10 ** (2 * dice.random())
    swing = (
        1
        + 0.3 * math.sin(now / (20 + 40 * dice.random()))
        + 0.15 * (Random(int(now) * 977 + int(base)).random() - 0.5)
    )
    p50 = 2 + 20 * dice.random() * swing
    made = {"rate": round(base * swing, 1), "p50_ms": round(p50, 2), "p95_ms": round(p50 * 1.7, 2)}
    made["p99_ms"] = round(p50 * (2 + 0.5 * swing), 2)
    if dice.random() < 0.8:
        made["target_p99_ms"] = [20, 50, 100][int(dice.random() * 3)]
    made |= {"batch": round(1 + 6 * dice.random() * swing, 1), "queue": int(5 * dice.random() * swing)}
    made["batches"] = [[2**k, int(100 * math.exp(-((k - 2) ** 2)))] for k in range(6)]
    made |= {
        "busy": round(min(1, 0.3 * swing), 3),
        "cost_per_1000": 0.0004 * p50,
        "joules_per_1000": 7.3 * p50,
        "method": "estimate",
    }
    if dice.random() < 0.3:
        made["errors"] = {"overloaded": 12 + int(now) % 100, "deadline": 3}
        made["error_rate"] = round(max(0, math.sin(now / 9)), 2)
    return made


MACHINE = {
    "processor": "AMD EPYC 7B13",
    "cores": 8,
    "memory_bytes": 2_140_000_000,
    "memory_limit": 16_000_000_000,
}
COST = {"currency": "USD", "per_hour": 0.384, "marginal_per_1000": 0.00094, "source": "settings"}
ENERGY = {"low": 28, "high": 71, "per_1000": 96.0, "method": "estimate", "intensity": 385}
TENANTS = [
    {
        "name": "search",
        "queries": 812_345,
        "budget": [{"what": "queries", "used": 0.42, "limit": 2_000_000, "warn": 0.8}],
    },
    {
        "name": "checkout",
        "queries": 120_422,
        "budget": [
            {"what": "money", "used": 0.86, "limit": 0.25, "warn": 0.8},
            {"what": "joules", "used": 0.31, "limit": 90_000, "warn": 0.3},
        ],
    },
    {
        "name": "night-batch",
        "queries": 9_001,
        "budget": [{"what": "queries", "used": 1.0, "limit": 9_000, "warn": 0.8}],
    },
    {"name": "anonymous", "queries": 422},
]


def tick(now, models):
    """One second's figures over these models."""
    wave = 0.5 + 0.2 * math.sin(now / 30)
    return {
        "at": now,
        "seconds": 1.0,
        "ready": True,
        "machine": MACHINE | {"cpu": wave + 0.1, "busy": wave},
        "rate": sum(one.get("rate", 0) for one in models),
        "errors": sum(one.get("error_rate", 0) for one in models),
        "cost": COST | {"per_1000": 0.00231 + 0.0004 * wave},
        "energy": ENERGY | {"watts": 30 + 30 * wave, "grams_per_1000": 0.0103 * wave},
        "tenants": TENANTS,
        "models": models,
    }


def hour(start, k):
    """An hour in the books."""
    used = {"cost_full": 0.08 + 0.02 * math.cos(k / 3), "joules": 4000 + 900 * math.sin(k / 5)}
    return {"start": start, "seconds": 3600, "queries": 40_000 + int(30_000 * math.sin(k / 4))} | used


def history(now):
    """What a model lived through in a day."""
    events = [
        {"at": now - 80_000, "version": "1", "what": "loaded", "detail": "in 412 ms"},
        {"at": now - 7_200, "version": "2", "what": "loaded", "detail": "in 398 ms, 23 MB"},
        {"at": now - 7_100, "version": "2", "what": "live", "detail": "after 1"},
    ]
    return {"events": events, "series": [hour(int(now // 3600 - 23 + k) * 3600, k) for k in range(24)]}


def scaled(path, now):
    """What is answered of how a model's instances stand, and of its last hours."""
    name = path.removeprefix("/penstock/scale/")
    model = name.removesuffix("/history")
    return 200, scaling.standing(model, now) if name == model else scaling.history(model, now)


class Stage:
    """What the page is shown, and what it asked for; tests change it while it runs."""

    def __init__(self, count):
        self.names = [""] * count
        self.every = 1.0
        self.warm = 0
        """Ticks of the past that a stream begins with."""
        self.past = None
        """What it is told of the minutes before, if anything."""
        self.keys = {}
        """Role by key; without any, everybody may do everything."""
        self.orders = []
        """Path and key of each order."""
        self.told = 0
        """Ticks of the present that were sent."""
        self.bodies = []
        """What each of them brought."""
        self.rollouts = lambda now: []
        """As they stand then."""
        self.scaling = lambda now: []
        """What the feed tells of instances that move."""
        self.scales = lambda path, now: scaled(path, now)
        """Status and body that a question for a model's scaling is answered with."""
        self.asked = []
        """Paths of those questions."""
        self.refusal = None
        """Status and body that an order is answered with."""
        self.change = lambda tick: tick
        self.running = True
        self.generation = 0

    def tick(self, now):
        models = [model(i, now, name) for i, name in enumerate(self.names)]
        ordered = sorted(models, key=lambda one: (one["name"], one["version"]))
        more = {"rollouts": self.rollouts(now), "scaling": self.scaling(now)}
        return self.change(tick(now, ordered) | more)

    def drop(self):
        """Ends the streams that are open."""
        self.generation += 1


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def stage(self):
        return self.server.stage

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/":
            self._file("index.html")
        elif path.startswith("/penstock/page/"):
            self._file(path.rpartition("/")[2])
        elif path == "/penstock/live" and self._may("infer"):
            self._live()
        elif path.startswith("/penstock/history/") and self._may("infer"):
            self._answer(200, history(time.time()))
        elif path.startswith("/penstock/scale/") and self._may("infer"):
            self.stage.asked.append(unquote(path))
            self._answer(*self.stage.scales(unquote(path), time.time()))
        elif not path.startswith("/penstock/"):
            self._answer(404, {"error": f"no path {path!r}"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.stage.bodies.append(json.loads(body))
        self.stage.orders.append((unquote(self.path), self._key()))
        if self._may("admin"):
            self._answer(*(self.stage.refusal or (200, None)))

    def _key(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _role(self):
        return self.stage.keys.get(self._key()) if self.stage.keys else "all"

    def _may(self, role):
        """Whether the key has the role; if not, that is the answer."""
        held = self._role()
        if held is None:
            self._answer(401, {"error": "this API key is not known here"})
        elif role == "admin" and held == "infer":
            self._answer(403, {"error": "this API key has the role 'infer'; 'admin' is needed for this"})
        else:
            return True
        return False

    def _file(self, name):
        file = STATIC / name
        if file.is_file():
            self._bytes(200, file.read_bytes(), TYPES[file.suffix[1:]], POLICY)
        else:
            self._answer(404, {"error": name})

    def _answer(self, status, value):
        self._bytes(status, b"" if value is None else json.dumps(value).encode(), "application/json", {})

    def _bytes(self, status, body, kind, headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _live(self):
        if not self.stage.running:
            return self._answer(503, {"error": "stopping"})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self._tell()
        except OSError:
            pass

    def _tell(self):
        stage, generation = self.stage, self.stage.generation
        now = time.time()
        hello = {
            "name": "penstock",
            "version": "0.1.0",
            "site": "frankfurt",
            "started": now - 98_000,
            "now": now,
        }
        self._event("hello", hello | {"currency": "USD", "may": self._role()})
        if stage.past is not None:
            self._event("past", stage.past)
        for at in range(stage.warm):
            self._event("tick", stage.tick(now - stage.warm + at))
        while stage.running and generation == stage.generation:
            self._event("tick", stage.tick(time.time()))
            stage.told += 1
            time.sleep(stage.every)

    def _event(self, name, value):
        self.wfile.write(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()


@contextmanager
def staged(count=1, port=0):
    """A running stage of ``count`` models; its address is ``stage.url``."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Door)
    server.daemon_threads = True
    server.stage = stage = Stage(count)
    stage.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield stage
    finally:
        stage.running = False
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":
    with staged(int(sys.argv[1]), 8899) as shown:
        shown.warm = 300
        shown.rollouts = lambda now: rollouts.several(now, int((sys.argv[2:] or [0])[0]))
        shown.scaling = scaling.shown
        print(shown.url)
        threading.Event().wait()
