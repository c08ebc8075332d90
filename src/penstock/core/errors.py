"""Everything that can go wrong, as one tree; doors translate leaves to their wire's codes.

PenstockError
├── InvalidRequest            the caller's question cannot be answered as asked
│   └── TooLarge              … because it is over a limit
├── NotFound
│   ├── UnknownModel
│   ├── UnknownVersion
│   └── UnknownPath
├── MethodNotAllowed
├── Unsupported               understood, not offered
├── Unauthenticated           no key, or one that is not known
├── Forbidden                 a known key without the role
├── BudgetSpent               the tenant has used what it may in an hour
├── Unavailable               may work later
│   ├── ModelNotReady         known, but not serving now
│   ├── Quarantined           not serving because its processes keep crashing
│   ├── Overloaded            the queue is full, or the deadline certainly cannot be met
│   └── ShuttingDown
├── DeadlineExceeded
├── Failed                    our side broke
│   ├── EngineFailed          the model raised while running
│   ├── InstanceLost          the process that ran the model has ended
│   └── PolicyFailed          the batch policy raised
├── LoadFailed                a model that cannot be served: missing, corrupt, incompatible
└── BadSetting                in a file, the environment or a flag
"""


class PenstockError(Exception):
    """The root; ``str()`` is one sentence: what was wrong and what would be right."""


class InvalidRequest(PenstockError): ...


class TooLarge(InvalidRequest): ...


class NotFound(PenstockError): ...


class UnknownModel(NotFound): ...


class UnknownVersion(NotFound): ...


class UnknownPath(NotFound): ...


class MethodNotAllowed(PenstockError): ...


class Unsupported(PenstockError): ...


class Unauthenticated(PenstockError): ...


class Forbidden(PenstockError): ...


class BudgetSpent(PenstockError):
    """``retry_after`` is the seconds after which enough of the budget is free again."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(PenstockError): ...


class ModelNotReady(Unavailable): ...


class Quarantined(Unavailable): ...


class Overloaded(Unavailable):
    """``retry_after`` is the seconds after which trying again makes sense."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ShuttingDown(Unavailable): ...


class DeadlineExceeded(PenstockError): ...


class Failed(PenstockError): ...


class EngineFailed(Failed): ...


class InstanceLost(Failed): ...


class PolicyFailed(Failed): ...


class LoadFailed(PenstockError): ...


class BadSetting(PenstockError): ...


REASONS: dict[type[PenstockError], str] = {
    PenstockError: "other",
    InvalidRequest: "invalid",
    NotFound: "not_found",
    Unsupported: "unsupported",
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    BudgetSpent: "budget",
    Unavailable: "unavailable",
    Quarantined: "quarantined",
    Overloaded: "overloaded",
    DeadlineExceeded: "deadline",
    Failed: "failed",
    EngineFailed: "engine",
    InstanceLost: "crash",
    PolicyFailed: "policy",
}
"""The word by which metrics count an error; a leaf without one takes its parent's."""


def reason(error: BaseException) -> str:
    """The metrics' word for an error, by its nearest named ancestor."""
    for kind in type(error).__mro__:
        if kind in REASONS:
            return REASONS[kind]
    return "other"


def one_line(error: BaseException) -> str:
    """A foreign error's text without line breaks, cut to a length that fits a log or an answer."""
    return " ".join(words(error).split())[:500] or type(error).__name__


def words(error: BaseException) -> str:
    """A foreign error's text, such that it can be written in UTF-8; empty where it fails to say any."""
    try:
        return str(error).encode(errors="backslashreplace").decode()
    except Exception:  # noqa: BLE001 - the error's own code
        return ""
