"""KServe's own client, unmodified, against a server: prints what it got as JSON.

A program of its own, because the protobuf messages of KServe and of NVIDIA's client have the same
names, so that one process cannot import both.
"""

import asyncio
import json
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def request(model="adding", rows=ROWS, binary=True, datatype="FP32", name="x"):
    tensor = InferInput(name, list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(model, [tensor], request_id="7")


def summary(response):
    return {
        "id": response.id,
        "model": [response.model_name, response.model_version],
        "outputs": {one.name: one.as_numpy().tolist() for one in response.outputs},
    }


async def over_http(url):
    got = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=1)) as client:

        async def infer(asked, model="adding"):
            return await client.infer(url, asked, model_name=model)

        got["live"] = await client.is_server_live(url)
        got["ready"] = await client.is_server_ready(url)
        got["model_ready"] = await client.is_model_ready(url, "adding")
        got["nobody_ready"] = await client.is_model_ready(url, "nobody")
        got["binary"] = summary(await infer(request()))
        got["json"] = summary(await infer(request(binary=False)))
        halves = np.array([[0.5, -2.0]], np.float16)
        wanted = request("identity_fp16", halves, datatype="FP16")
        wanted.parameters = {"binary_data_output": True}
        got["fp16"] = summary(await infer(wanted, "identity_fp16"))
        try:
            await infer(request("nobody"), "nobody")
        except httpx.HTTPStatusError as error:
            got["unknown"] = [error.response.status_code, str(error)]
        try:
            await infer(request(name="z"))
        except httpx.HTTPStatusError as error:
            got["wrong"] = [error.response.status_code, str(error)]
        many = await asyncio.gather(*(infer(request(rows=np.full((1, 4), n, np.float32))) for n in range(64)))
        got["many"] = [one.outputs[0].as_numpy()[0, 0].item() for one in many]
    return got


async def over_grpc(address):
    got = {}
    async with InferenceGRPCClient(address, retries=2) as client:
        got["live"] = await client.is_server_live()
        got["ready"] = await client.is_server_ready()
        got["model_ready"] = await client.is_model_ready("adding")
        got["nobody_ready"] = await client.is_model_ready("nobody")
        got["binary"] = summary(await client.infer(request()))
        got["json"] = summary(await client.infer(request(binary=False)))  # typed contents
        halves = np.array([[0.5, -2.0]], np.float16)
        got["fp16"] = summary(await client.infer(request("identity_fp16", halves, datatype="FP16")))
        for name, asked in (("unknown", request("nobody")), ("wrong", request(name="z"))):
            try:
                await client.infer(asked)
            except grpc.RpcError as error:
                got[name] = [error.code().name, error.details()]
        asked = [request(rows=np.full((1, 4), n, np.float32)) for n in range(64)]
        many = await asyncio.gather(*(client.infer(one) for one in asked))
        got["many"] = [one.outputs[0].as_numpy()[0, 0].item() for one in many]
    return got


async def main(url, address):
    print(json.dumps({"http": await over_http(url), "grpc": await over_grpc(address)}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
