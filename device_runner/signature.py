"""Ed25519 signatures of whole files, in a small text file beside each: ``model.tflite.sig``.

::

    edgerec-signature 1
    ed25519 <key id: 16 hexadecimal digits> <base64 of the 64 bytes of the signature>

What is signed are all bytes of the file and nothing else, so that any Ed25519 tool can check it. There may be several
lines: of several keys, or, while an update swaps the file, of the old and of the new one. A file is signed by a key if
one line verifies. The key id, the first 16 digits of the SHA-256 of the raw public key, only says which lines to try.

Keys are PEM files: PKCS #8 and SubjectPublicKeyInfo. Needs the package ``cryptography`` (extra ``sign``).
"""

import base64
import binascii
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_runner.errors import SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HEADER = "edgerec-signature 1"
ALGORITHM = "ed25519"
SUFFIX = ".sig"
SIGNATURE_BYTES = 64
KEY_ID_DIGITS = 16
# Of a signature file, far above what one needs.
MAX_BYTES = 4096
MAX_LINES = 16
# Of a file that is published, so that there is room for another's lines during an update.
MAX_PUBLISHED = MAX_LINES // 2


@dataclass(frozen=True)
class Line:
    """One line of a signature file; ``signature`` is ``None`` for another algorithm than Ed25519."""

    algorithm: str
    key_id: str
    text: str
    signature: bytes | None

    def __str__(self) -> str:
        return f"{self.algorithm} {self.key_id} {self.text}"


def signature_path(path: Path) -> Path:
    """The signature file of ``path``."""
    return path.with_name(path.name + SUFFIX)


def make_key(path: Path) -> tuple[Path, str]:
    """Make a key pair: the private key at ``path`` (mode 0600), the public one beside it, with the ending ``.pub.pem``.

    Returns:
        The path of the public key, and the key id.

    Raises:
        SignatureError: one of the files exists, or ``cryptography`` is not installed.
    """
    library = _library()
    from cryptography.hazmat.primitives import serialization

    public_path = path.with_name(path.name.removesuffix(".pem") + ".pub.pem")
    for one in (path, public_path):
        if one.exists():
            raise SignatureError(f"{one}: exists already; a lost key cannot be restored, so it is not overwritten")
    key = library.Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for one, content, mode in ((path, secret, 0o600), (public_path, public, 0o644)):
        descriptor = os.open(one, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return public_path, key_id(key.public_key())


def key_id(key: "Ed25519PublicKey") -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def sign(path: Path, key_path: Path) -> str:
    """Sign the file at ``path``; returns the key id. The signature is added to ``path.sig``, in place of an earlier one
    by the same key; lines of other keys stay.

    Raises:
        SignatureError: the key cannot be read, or the signature file is malformed or full.
    """
    key = _load(key_path, private=True)
    own, there = key_id(key.public_key()), signature_path(path)
    line = f"{ALGORITHM} {own} {base64.b64encode(key.sign(_content(path))).decode()}"
    others = read_lines(there) if there.exists() else []
    lines = [line, *(str(other) for other in others if (other.algorithm, other.key_id) != (ALGORITHM, own))]
    if len(lines) > MAX_PUBLISHED:
        raise SignatureError(f"{there}: has {len(others)} signatures already, {MAX_PUBLISHED} are the most")
    temporary = there.with_name(f".{there.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(to_text(lines), encoding="ascii")
        temporary.replace(there)
    finally:
        temporary.unlink(missing_ok=True)
    return own


def verify(path: Path, key_path: Path, signatures: str | None = None) -> str:
    """See that the file at ``path`` is signed by the public key at ``key_path``; returns the key id.

    Args:
        signatures: text of the signature file. Default: that of ``path.sig``.

    Raises:
        SignatureError: it is not; or a file cannot be read, or ``cryptography`` is not installed.
    """
    key = _load(key_path, private=False)
    wanted, there = key_id(key), signature_path(path)
    lines = read_lines(there) if signatures is None else parse(signatures, str(there))
    by_key = [line.signature for line in lines if line.key_id == wanted and line.signature is not None]
    if not by_key:
        others = ", ".join(sorted({line.key_id for line in lines})) or "none"
        raise SignatureError(f"{path}: has no signature by the key {wanted} ({key_path}), but by: {others}")
    content = _content(path)
    from cryptography.exceptions import InvalidSignature

    for signature in by_key:
        with suppress(InvalidSignature):
            key.verify(signature, content)
            return wanted
    raise SignatureError(
        f"{path}: the signature by the key {wanted} is wrong: the file was altered, or the signature is of another one"
    )


def read_lines(path: Path) -> list[Line]:
    """The lines of a signature file.

    Raises:
        SignatureError: it is absent or malformed.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise SignatureError(f"{path}: no such file, so there is no signature") from None
    try:
        return parse(content.decode("ascii"), str(path))
    except UnicodeDecodeError:
        raise SignatureError(f"{path}: not a signature file") from None


def parse(text: str, name: str) -> list[Line]:
    """The lines of a signature file's text.

    Args:
        name: of the file, for messages.

    Raises:
        SignatureError: it is malformed.
    """
    header, *lines = text.rstrip().replace("\r\n", "\n").split("\n")
    if header != HEADER or len(text) > MAX_BYTES or len(lines) > MAX_LINES:
        raise SignatureError(f"{name}: not a signature file")
    return [_line(line, f"{name}: line {place}") for place, line in enumerate(lines, 2)]


def to_text(lines: "list[Line] | list[str]") -> str:
    """The text of a signature file."""
    return "\n".join([HEADER, *map(str, lines)]) + "\n"


def _line(line: str, place: str) -> Line:
    fields = line.split(" ")
    if len(fields) != 3 or not all(fields):
        raise SignatureError(f"{place}: not of the form: algorithm, key id, signature")
    algorithm, key, text = fields
    if algorithm != ALGORITHM:
        return Line(algorithm, key, text, None)
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError(f"{place}: the signature is not base64") from None
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"{place}: the signature has {len(signature)} bytes, not {SIGNATURE_BYTES}")
    return Line(algorithm, key, text, signature)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise SignatureError(f"{path}: no such file") from None


def _load(path: Path, private: bool) -> Any:
    """The Ed25519 key in a PEM file."""
    library = _library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    kind, other = ("private", "public") if private else ("public", "private")
    content = _content(path)
    try:
        key: Ed25519PrivateKey | Ed25519PublicKey | Any = (
            serialization.load_pem_private_key(content, password=None)
            if private
            else serialization.load_pem_public_key(content)
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: encrypted
        hint = f"; it is the {other} one" if f"{other.upper()} KEY" in content.decode("ascii", "replace") else ""
        raise SignatureError(f"{path}: not a {kind} key (PEM, without a password){hint}") from None
    if not isinstance(key, library.Ed25519PrivateKey if private else library.Ed25519PublicKey):
        raise SignatureError(f"{path}: not an Ed25519 key; make one with: edgerec keygen")
    return key


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise SignatureError('signatures need the package cryptography; pip install "edgerec[sign]"') from None
    return ed25519
