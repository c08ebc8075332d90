"""The error tree in the words of each wire; a leaf without a row takes its nearest ancestor's.

HTTP: the map of the Open Inference Protocol as Triton applies it (INTERNAL 500, NOT_FOUND 404,
UNAVAILABLE 503, UNSUPPORTED 501, others 400), with the more telling codes where HTTP has one.
"""

from math import ceil

import orjson

from penstock.core import errors

HTTP: dict[type[errors.PenstockError], int] = {
    errors.PenstockError: 500,
    errors.InvalidRequest: 400,
    errors.TooLarge: 413,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Unsupported: 501,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.BudgetSpent: 429,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.Failed: 500,
    errors.LoadFailed: 400,
    errors.BadSetting: 400,
}

GRPC: dict[type[errors.PenstockError], str] = {
    errors.PenstockError: "INTERNAL",
    errors.InvalidRequest: "INVALID_ARGUMENT",
    errors.TooLarge: "RESOURCE_EXHAUSTED",
    errors.NotFound: "NOT_FOUND",
    errors.MethodNotAllowed: "UNIMPLEMENTED",
    errors.Unsupported: "UNIMPLEMENTED",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.Forbidden: "PERMISSION_DENIED",
    errors.BudgetSpent: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.Overloaded: "RESOURCE_EXHAUSTED",
    errors.DeadlineExceeded: "DEADLINE_EXCEEDED",
    errors.Failed: "INTERNAL",
    errors.LoadFailed: "INVALID_ARGUMENT",
    errors.BadSetting: "INVALID_ARGUMENT",
}
"""Names of grpc.StatusCode members, so that this file needs no gRPC."""


def http_status(error: errors.PenstockError) -> int:
    """The HTTP status of an error."""
    return next(HTTP[kind] for kind in type(error).__mro__ if kind in HTTP)


def grpc_code(error: errors.PenstockError) -> str:
    """The name of the gRPC status code of an error."""
    return next(GRPC[kind] for kind in type(error).__mro__ if kind in GRPC)


def hint(error: errors.PenstockError) -> bytes:
    """The HTTP header line that tells a client what to do about an error, if there is one."""
    if isinstance(error, errors.Overloaded):
        return b"retry-after: %d\r\n" % max(1, round(error.retry_after))
    if isinstance(error, errors.BudgetSpent):
        return b"retry-after: %d\r\n" % max(1, ceil(error.retry_after))  # a moment sooner is too soon
    if isinstance(error, errors.Unauthenticated):
        return b'www-authenticate: Bearer realm="penstock"\r\n'
    return b""


def error_body(sentence: str) -> bytes:
    """The V2 error object."""
    return orjson.dumps({"error": sentence})
