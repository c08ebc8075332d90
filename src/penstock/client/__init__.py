"""Clients of an Open Inference Protocol server: numpy in, numpy out, over HTTP."""

from penstock.client.aio import AsyncClient
from penstock.client.codec import Result
from penstock.client.errors import ServerError
from penstock.client.sync import Client

__all__ = ["AsyncClient", "Client", "Result", "ServerError"]
