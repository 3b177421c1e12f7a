"""Updates of the model on a device: the new one is checked, tried, and swapped in, and the last good one is kept.

Beside the model in service, CURRENT, stand ``CURRENT.previous``, the one before it; the signature files of both, if
they have any (``.sig``); and ``CURRENT.lock``. Every file is replaced by renaming: at every moment CURRENT is the whole
old or the whole new model, also after a kill or a loss of power, and a process that has loaded the old one keeps it.
During an update there are ``CURRENT.new`` and ``CURRENT.outgoing`` too; the next command clears up what a kill left.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from device_runner import signature as signatures
from device_runner.bundle import Bundle
from device_runner.contract import Retrieval
from device_runner.delta import apply_delta, is_delta
from device_runner.durable import sync_folder
from device_runner.errors import BundleError, SignatureError, UpdateError
from device_runner.golden import check_in_child
from device_runner.signature import signature_path


@dataclass(frozen=True)
class Update:
    """What an update or a rollback did.

    Attributes:
        changed: whether another model is in service now; not if the new file was the same as the old one.
        release, previous_release: of the model in service, and of the one before (``None`` if there was none, or a
            damaged one).
        items, shared_items: of the model in service, and how many of them the one before had too.
        cases: golden vectors that were run.
        key_id: of the key that signed the model; ``""`` where no key was required.
        delta: whether the new model came as a delta.
    """

    changed: bool
    release: int
    previous_release: int | None
    items: int
    shared_items: int
    cases: int
    key_id: str = ""
    delta: bool = False


@dataclass(frozen=True)
class Slot:
    """The files of one model in service."""

    current: Path

    def beside(self, ending: str) -> Path:
        return self.current.with_name(self.current.name + ending)

    @property
    def new(self) -> Path:
        return self.beside(".new")

    @property
    def outgoing(self) -> Path:
        """The model that leaves service, until it becomes the previous one."""
        return self.beside(".outgoing")

    @property
    def previous(self) -> Path:
        return self.beside(".previous")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other updates of this model out, and clear up after one that was killed.

        Raises:
            UpdateError: another update is running, or there is no folder.
        """
        if self.current.is_dir():
            raise UpdateError(f"{self.current}: a folder, not a bundle; name the file that is in service")
        if not self.current.parent.is_dir():
            raise UpdateError(f"{self.current}: there is no folder {self.current.parent}")
        with self.beside(".lock").open("ab") as lock:
            try:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # Windows
                pass
            except OSError:
                raise UpdateError(f"{self.current}: another update is running; try again when it has ended") from None
            self._finish()
            try:
                yield
            finally:
                for one in (self.new, signature_path(self.new)):
                    one.unlink(missing_ok=True)

    def swap(self) -> None:
        """Put ``new`` in service, and keep the model that was, with its signatures, as the previous one."""
        lines, lines_before = _lines(signature_path(self.new)), _lines(signature_path(self.current))
        with suppress(BundleError):  # a damaged one is not worth keeping
            Bundle.read(self.current)
            _copy(self.current, self.outgoing)
            _write(signature_path(self.outgoing), _text(lines_before))
        # For a moment the signatures of both, so that whichever model is there has its own beside it.
        if lines or lines_before:
            _write(signature_path(self.current), _text([*lines, *lines_before]))
        sync_folder(self.current.parent)
        self.new.replace(self.current)
        sync_folder(self.current.parent)
        if lines:
            _write(signature_path(self.current), _text(lines))
        else:
            signature_path(self.current).unlink(missing_ok=True)
        self._finish()

    def _finish(self) -> None:
        """Make the outgoing model the previous one if another one has taken its place, and remove what is left."""
        outgoing, signed = self.outgoing, signature_path(self.outgoing)
        if outgoing.exists() and _same(outgoing, self.current):  # killed before the swap
            signed.unlink(missing_ok=True)
            outgoing.unlink()
        if outgoing.exists():
            outgoing.replace(self.previous)
        # The signatures come after their model and go before it: those that are alone belong to the previous one.
        if signed.exists() and signed.stat().st_size:
            signed.replace(signature_path(self.previous))
        elif signed.exists():
            signature_path(self.previous).unlink(missing_ok=True)
            signed.unlink()
        for one in (self.new, signature_path(self.new)):
            one.unlink(missing_ok=True)
        for path in (self.new, self.current, outgoing):
            _temporary(signature_path(path)).unlink(missing_ok=True)
        sync_folder(self.current.parent)


def update(
    current: str | Path,
    new: str | Path,
    key: str | Path | None = None,
    signature: str | Path | None = None,
    allow_downgrade: bool = False,
    allow_other_catalogue: bool = False,
    backend: str = "auto",
) -> Update:
    """Put a new model in service, or refuse it and leave the old one as it is.

    Args:
        current: the bundle in service; without one, this is the first installation.
        new: a bundle, or a delta from the current one (see ``device_runner.delta``).
        key: file of a public key: refuse a model that is not signed by it.
        signature: the new model's signature file. Default: ``NEW.sig``, or the signature inside the delta.
        allow_downgrade: accept a smaller release than the current one.
        allow_other_catalogue: accept a model that has no item of the current one.
        backend: the runtime to try it on; ``"auto"`` as in ``Recommender.load``.

    Raises:
        UpdateError, BundleError, BackendError, DeltaError, SignatureError: the new model was refused; the message says
            why. The one in service stays.
    """
    slot, source = Slot(Path(current)), Path(new)
    if not source.is_file():
        raise UpdateError(f"{source}: {'a folder, not a bundle' if source.is_dir() else 'no such file'}")
    with slot.locked():
        # From here on, only the copy is looked at: the file itself may change meanwhile.
        delta = is_delta(source)
        if delta:
            if not slot.current.exists():
                raise UpdateError(f"{slot.current}: no such file, so a delta cannot be applied; use the whole model")
            inside = apply_delta(slot.current, source, slot.new).signature
        else:
            _write_copy(source, slot.new)
            inside = None
        text = _signature_text(source, inside, signature, delta)
        if text is not None:
            _write(signature_path(slot.new), text)
        key_id = _check_key(slot.new, key, source)
        if slot.current.exists() and _same(slot.new, slot.current):
            return _unchanged(slot, key_id, delta)
        done = _checked(slot, source, allow_downgrade, allow_other_catalogue, backend, key_id, delta)
        slot.swap()
    return done


def rollback(current: str | Path, key: str | Path | None = None, backend: str = "auto") -> Update:
    """Put the previous model in service again; the one that was becomes the previous one.

    Args:
        key: file of a public key: refuse a model that is not signed by it.
        backend: the runtime to try it on.

    Raises:
        UpdateError, BundleError, BackendError, SignatureError: there is no previous model, or it was refused.
    """
    slot = Slot(Path(current))
    with slot.locked():
        if not slot.previous.exists():
            raise UpdateError(f"{slot.previous}: no such file, so there is no model to go back to")
        _copy(slot.previous, slot.new)
        signed = signature_path(slot.previous)
        if signed.exists():
            _write_copy(signed, signature_path(slot.new))
        key_id = _check_key(slot.new, key, slot.previous)
        if slot.current.exists() and _same(slot.new, slot.current):
            return _unchanged(slot, key_id, False)
        done = _checked(slot, slot.previous, True, True, backend, key_id, False)
        slot.swap()
    return done


def _checked(
    slot: Slot, source: Path, downgrade: bool, other_catalogue: bool, backend: str, key_id: str, delta: bool
) -> Update:
    """Try the new model and compare it with the one in service.

    Raises:
        UpdateError, BundleError: it is refused; in messages it has the name of ``source``.
    """
    try:
        cases = check_in_child(slot.new, backend)  # first of all: reading a hostile file may take a process down
        new = Bundle.read(slot.new)
    except BundleError as error:
        said = str(error).replace(str(slot.new), str(source)).replace(slot.new.name, source.name)
        raise BundleError(said) from None
    try:
        old = Bundle.read(slot.current)
    except BundleError:  # absent, or damaged: then any model is better
        old = None
    items = [item for item in new.items if item]
    if old is None:
        return Update(True, new.release, None, len(items), 0, cases, key_id, delta)
    if old.contract.kind != new.contract.kind:
        raise UpdateError(f"{source}: a {new.contract.kind} model, but {slot.current} is a {old.contract.kind} model")
    if new.release < old.release and not downgrade:
        raise UpdateError(
            f"{source}: is release {new.release}, in service is release {old.release}; allow the downgrade if you mean "
            "it (--allow-downgrade)"
        )
    shared = len(set(items).intersection(old.items))
    if isinstance(new.contract, Retrieval) and not shared and not other_catalogue:
        raise UpdateError(
            f"{source}: has no item in common with {slot.current}, so that stored histories would mean nothing; allow "
            "it if you mean it (--allow-other-catalogue)"
        )
    return Update(True, new.release, old.release, len(items), shared, cases, key_id, delta)


def _unchanged(slot: Slot, key_id: str, delta: bool) -> Update:
    """The new file is the one in service; only its signatures may be new."""
    signed = signature_path(slot.new)
    if signed.exists():
        signed.replace(signature_path(slot.current))
        sync_folder(slot.current.parent)
    bundle = Bundle.read(slot.current)
    items = len(bundle.items) - 1
    return Update(False, bundle.release, bundle.release, items, items, 0, key_id, delta)


def _signature_text(source: Path, inside: str | None, given: str | Path | None, delta: bool) -> str | None:
    """Text of the new model's signature file, checked for its form; ``None`` without one."""
    if given is not None:
        lines = signatures.read_lines(Path(given))
    elif delta:
        lines = [] if inside is None else signatures.parse(inside, f"{source}: the signature in it")
    elif signature_path(source).exists():
        lines = signatures.read_lines(signature_path(source))
    else:
        lines = []
    if len(lines) > signatures.MAX_PUBLISHED:
        raise SignatureError(f"{source}: has {len(lines)} signatures, {signatures.MAX_PUBLISHED} are the most")
    return signatures.to_text(lines) if lines else None


def _check_key(new: Path, key: str | Path | None, source: Path) -> str:
    """The id of the key that signed the new model, which must be the required one, if there is one."""
    if key is None:
        return ""
    if not signature_path(new).exists():
        raise SignatureError(f"{source}: is not signed, but a signature is required; sign it with: edgerec sign")
    try:
        return signatures.verify(new, Path(key))
    except SignatureError as error:
        raise SignatureError(str(error).replace(str(new), str(source))) from None


def _lines(path: Path) -> list[signatures.Line]:
    """Lines of a signature file on the device; none if it is absent or damaged."""
    try:
        return signatures.read_lines(path)
    except SignatureError:
        return []


def _same(first: Path, second: Path) -> bool:
    """Whether two files have the same content."""
    if not second.exists() or first.stat().st_size != second.stat().st_size:
        return False
    if first.samefile(second):
        return True
    with first.open("rb") as one, second.open("rb") as other:
        return file_digest(one, "sha256").digest() == file_digest(other, "sha256").digest()


def _copy(source: Path, target: Path) -> None:
    """Another name for the same content, or a copy where the file system has no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        _write_copy(source, target)


def _write_copy(source: Path, target: Path) -> None:
    """Copy, and wait until it is on the disk."""
    target.unlink(missing_ok=True)  # it may be a link
    with source.open("rb") as given, target.open("xb") as file:
        shutil.copyfileobj(given, file)
        file.flush()
        os.fsync(file.fileno())


def _text(lines: list[signatures.Line]) -> str:
    """Text of a signature file with the first of the lines, as many as it may have; ``""`` without one."""
    kept = list(dict.fromkeys(map(str, lines)))[: signatures.MAX_LINES]
    while len(signatures.to_text(kept)) > signatures.MAX_BYTES:
        kept.pop()
    return signatures.to_text(kept) if kept else ""


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _write(path: Path, text: str) -> None:
    """Write a small file whole, by renaming, and wait until it is on the disk."""
    temporary = _temporary(path)
    with temporary.open("w", encoding="ascii", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
