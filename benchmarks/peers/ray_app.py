# mypy: ignore-errors
"""Ray Serve serving one ONNX model on a one-node cluster of its own."""

import os
import signal
import sys

import numpy as np
import ray
from peer_session import open_session, run
from ray import serve
from starlette.requests import Request

MAX_BATCH = int(os.environ["MAX_BATCH"])


class Single:
    """One request a call."""

    def __init__(self):
        self.session = open_session()

    async def __call__(self, request: Request):
        body = await request.json()
        return {"y": run(self.session, np.asarray(body["x"], np.float32)).tolist()}


class Batched:
    """Requests gathered by @serve.batch."""

    def __init__(self):
        self.session = open_session()

    @serve.batch(max_batch_size=max(MAX_BATCH, 1), batch_wait_timeout_s=float(os.environ["BATCH_WAIT_S"]))
    async def rows(self, rows):
        return list(run(self.session, np.asarray(rows, np.float32)))

    async def __call__(self, request: Request):
        body = await request.json()
        return {"y": [(await self.rows(body["x"][0])).tolist()]}


def main() -> None:
    """Start the cluster in this process's tree and block until told to end."""
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        _temp_dir=os.environ["PEER_WORK"],
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"])})
    options = {}
    if os.environ["ONGOING"]:
        options["max_ongoing_requests"] = int(os.environ["ONGOING"])
    deployment = serve.deployment(
        Batched if MAX_BATCH else Single,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": os.environ["ACCESS_LOG"] == "1"},
        **options,
    )
    serve.run(deployment.bind(), route_prefix="/predict")
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    sys.exit(main())
