"""The command, called as a shell would call it, but in this process."""

import pytest

from penstock.cli.main import main


def run(*arguments: str) -> int:
    """The exit code."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return int(exit_.value.code or 0)
