"""A repository on this machine's disk: one folder of models, or one model file."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from threading import Lock

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.engines import FILES, reads
from penstock.repository.layout import ModelFolder, read, single
from penstock.repository.versions import check

log = logging.getLogger("penstock.repository")

_LAYOUT = (
    "expected PATH/<model>/<version>/model.onnx (or another engine's file), or PATH to be one model file; "
    "'penstock init DIR' makes an example"
)
_SKIPPED = {"lost+found"}


class LocalStore:
    """Reads the models under ``path``; ``defaults`` lie under every model's own settings.

    Raises BadSetting when the defaults ask for no versions that could be.
    """

    def __init__(self, path: Path, defaults: ModelSpec | None = None) -> None:
        self.path = path
        self.defaults = defaults or ModelSpec()
        check(self.defaults.versions)
        self._last: Mapping[str, ModelFolder] = {}
        self._found = False
        self._warned: set[str] = set()
        self._one_at_a_time = Lock()

    def scan(self) -> Mapping[str, ModelFolder]:
        """What is there now, by model name; blocks, so call it in a thread.

        What is wrong with one model is that model's ``error``.
        Raises BadSetting when the repository cannot be read, or has never held a model.
        """
        with self._one_at_a_time:
            models = self._file() if self.path.is_file() else self._folder()
            for model in models.values():
                self._warn(model)
            self._last = models
            self._found = True
        return models

    def _file(self) -> Mapping[str, ModelFolder]:
        if not reads(self.path.name):
            raise BadSetting(f"{self.path} is no model; have {', '.join(FILES)}")
        model = single(self.path, self.defaults)
        return {model.name: model}

    def _folder(self) -> Mapping[str, ModelFolder]:
        models: dict[str, ModelFolder] = {}
        for folder in self._folders():
            model = read(folder, self.defaults, self._last.get(folder.name))
            if model is not None:
                models[folder.name] = model
        if not self._found:
            self._check(models)
        return models

    def _folders(self) -> list[Path]:
        try:
            entries = sorted(self.path.iterdir())
        except FileNotFoundError:
            raise BadSetting(f"{self.path} does not exist; {_LAYOUT}") from None
        except OSError as error:
            raise BadSetting(f"{self.path} cannot be read: {error.strerror}; {_LAYOUT}") from None
        visible = (entry for entry in entries if entry.name[0] != "." and entry.name not in _SKIPPED)
        return [entry for entry in visible if entry.is_dir()]

    def _check(self, models: Mapping[str, ModelFolder]) -> None:
        """At the start, a repository without any model is a mistake in the path; later it is not."""
        if not models:
            raise BadSetting(f"{self.path} holds no model; {_LAYOUT}")
        if all(name.isdigit() and not model.versions for name, model in models.items()):
            above = self.path.absolute().parent
            raise BadSetting(f"{self.path} looks like the folder of one model; serve {above} instead")

    def _warn(self, model: ModelFolder) -> None:
        for warning in (*model.warnings, *model.doubts):
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("%s", warning)

    async def changes(self) -> AsyncIterator[None]:
        """Wakes its reader soon after something changed; a hint only, because events can be lost.

        Ends, with a warning, where the system cannot watch.
        """
        from watchfiles import awatch

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # else a line for every event
        alone = self.path.is_file()
        where = self.path.parent if alone else self.path
        events = awatch(where, watch_filter=None, debounce=200, recursive=not alone)
        try:
            async with aclosing(events):
                async for _ in events:
                    yield
        except (OSError, RuntimeError) as error:
            log.warning("%s cannot be watched, changes are found by polling alone: %s", where, error)
