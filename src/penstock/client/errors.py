"""What a client raises when the server did not answer as hoped."""

from penstock.core.errors import PenstockError


class ServerError(PenstockError):
    """The server's own sentence; ``status`` is HTTP's, or 0 where no answer came at all."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
