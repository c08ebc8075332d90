"""What can go wrong with the books."""

from penstock.core.errors import BadSetting, Failed


class BooksBusy(BadSetting):
    """Another server keeps its books in this file."""


class BooksFailed(Failed):
    """They could not be written or read now, e.g. on a full disk; nothing of it was written."""
