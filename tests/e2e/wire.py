"""Requests as bytes, and connections on which to send them without a client's help."""

import re
import socket

import numpy as np
import orjson
from tritonclient.grpc import service_pb2

ONE = (1.0, 2.0, 3.0, 4.0)
CLOSED = re.compile(rb"^connection: close\r$", re.MULTILINE | re.IGNORECASE)
LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.MULTILINE | re.IGNORECASE)


def http_request(model, row=ONE, headers="", **parameters):
    """One row for ``x``; ``headers`` are whole lines."""
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row}
    asked = {"inputs": [tensor]} | ({"parameters": parameters} if parameters else {})
    body = orjson.dumps(asked)
    first = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: here\r\n"
    return f"{first}content-length: {len(body)}\r\n{headers}\r\n".encode() + body


def grpc_request(model, row=ONE):
    message = service_pb2.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.array(row, np.float32).tobytes())
    return message


def send(server, request):
    """A connection on which a whole request has been sent."""
    connection = socket.create_connection(("127.0.0.1", server.http_port), timeout=30)
    connection.sendall(request)
    return connection


def receive(connection):
    """Status and body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    while len(body) < int(LENGTH.search(head + b"\r")[1]):
        body += _more(connection)
    return int(head.split()[1]), orjson.loads(body)


def receive_all(connection):
    """All that comes until the server ends the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _more(connection):
    part = connection.recv(65536)
    assert part, "the connection ended before its answer"
    return part
