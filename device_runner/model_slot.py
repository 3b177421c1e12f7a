"""A model in service that is loaded again when an update has replaced its file."""

import threading
from pathlib import Path

from device_runner.errors import EdgeRecError
from device_runner.recommender import Recommender


class ModelSlot:
    """The recommender of a file, always of the newest version. Threads may share it.

    >>> slot = ModelSlot("model.tflite")                 # doctest: +SKIP
    >>> slot.get().recommend(["1029743"], k=3)           # doctest: +SKIP

    A new file that cannot be loaded changes nothing: the recommender of the one before stays, and ``error`` says why.
    That the new file gives the right answers, ``edgerec-device update`` has tried before it put the file there.

    Args:
        path, backend, threads: see ``Recommender.load``.

    Raises:
        BundleError, BackendError: the model cannot be loaded.

    Attributes:
        error: why the newest version of the file is not in use; ``None`` if it is.
    """

    def __init__(self, path: str | Path, backend: str = "auto", threads: int = 1) -> None:
        self.path = Path(path)
        self.error: EdgeRecError | None = None
        self._options = (backend, threads)
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._recommender = Recommender.load(self.path, backend, threads)

    def get(self) -> Recommender:
        """The recommender; costs one look at the file's date, and a load when it is another file than before."""
        if self._stamp() != self._seen:
            with self._lock:
                if (stamp := self._stamp()) != self._seen:
                    try:
                        self._recommender, self.error = Recommender.load(self.path, *self._options), None
                    except EdgeRecError as error:
                        self.error = error
                    self._seen = stamp
        return self._recommender

    def _stamp(self) -> tuple[int, ...] | None:
        """What tells this file from another of the same name."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
