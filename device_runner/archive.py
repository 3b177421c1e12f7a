"""The ZIP behind the flatbuffer, read strictly: only what the writer of bundles makes, checked before it is inflated.

Python's ``zipfile`` reads far more than a bundle needs (data descriptors, ZIP64, encryption, other compression
methods, overlapping members), and each of these has cost a crafted file a hang or gigabytes. Here members are stored or
deflated, lie one behind the other without a gap, are each there once, and are together no larger than the size of the
file allows.
"""

import struct
import zlib
from typing import BinaryIO, NamedTuple

STORED, DEFLATED = 0, 8
# End of central directory: signature, disks (4), entries, bytes and place of the directory, length of the comment.
END = struct.Struct("<4s4H2IH")
# An entry of the directory: signature, versions (2), flags, method, time stamp, CRC, packed and plain size, lengths of
# name, extra and comment, disk, attributes (2), place of the local header.
ENTRY = struct.Struct("<4s4HI3I5H2I")
# The header before a member: signature, version, flags, method, time stamp, CRC, sizes, lengths of name and extra.
LOCAL = struct.Struct("<4s3HI3I2H")
UTF8_NAME = 0x800
# Text and JSON are inflated to at most so many bytes, all members together: a floor for small files, and a multiple of
# the file. Real bundles stay below 1.2 times the file.
FLOOR, FACTOR = 8 << 20, 3


class ArchiveError(ValueError):
    """The ZIP is damaged, or not as bundles have it."""


class NoArchiveError(ArchiveError):
    """The file does not end with a ZIP."""


class Member(NamedTuple):
    """A member that is not inflated yet.

    Attributes:
        packed: its bytes in the file.
        size: its bytes when inflated, as the directory says.
    """

    name: str
    method: int
    crc: int
    size: int
    packed: bytes

    def content(self) -> bytes:
        """The inflated bytes.

        Raises:
            ArchiveError: they are not as long as the directory says, or have another checksum.
        """
        content = self._inflated() if self.method == DEFLATED else self.packed
        if len(content) != self.size:
            raise ArchiveError(f"member {self.name} is not as long as it claims")
        if zlib.crc32(content) != self.crc:
            raise ArchiveError(f"member {self.name} has a wrong checksum")
        return content

    def _inflated(self) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than claimed shows a member that is longer, without inflating the rest.
            content = inflater.decompress(self.packed, self.size + 1)
        except zlib.error as error:
            raise ArchiveError(f"member {self.name} cannot be inflated ({error})") from None
        if len(content) <= self.size and (not inflater.eof or inflater.unused_data):
            raise ArchiveError(f"member {self.name} is damaged")
        return content


def read_members(file: BinaryIO, size: int, known: frozenset[str]) -> tuple[int, dict[str, Member]]:
    """Where the ZIP begins, and its members by name.

    Args:
        size: of the file in bytes.
        known: the names that a bundle may have.

    Raises:
        NoArchiveError: there is no ZIP at the end.
        ArchiveError: it is damaged, or has what bundles do not have.
    """
    entries, place, directory = _directory(file, size, len(known))
    members: dict[str, Member] = {}
    at = total = 0
    start = expected = -1
    for _ in range(entries):
        if at + ENTRY.size > len(directory):
            raise ArchiveError("its directory is cut off")
        (signature, _, _, flags, method, _, crc, packed, plain, name_bytes, extra, comment, _, _, _, header) = (
            ENTRY.unpack_from(directory, at)
        )
        if signature != b"PK\x01\x02" or extra or comment:
            raise ArchiveError("its directory is damaged")
        raw = directory[at + ENTRY.size : at + ENTRY.size + name_bytes]
        name = raw.decode("utf-8", "replace")
        if name not in known:
            raise ArchiveError(f"unexpected member {name[:40]!r}")
        if name in members:
            raise ArchiveError(f"member {name} is there twice")
        if flags & ~UTF8_NAME or method not in (STORED, DEFLATED):
            raise ArchiveError(f"member {name} is compressed by a method ({method}) that is not stored or deflated")
        total += plain
        if plain > _most(size) or total > _most(size):
            raise ArchiveError(f"member {name} claims {plain:,} bytes")
        start = header if start < 0 else start
        if header != (start if expected < 0 else expected):
            raise ArchiveError(f"member {name} is not behind the one before it")
        expected = header + LOCAL.size + name_bytes + packed
        if expected > place:
            raise ArchiveError(f"member {name} is longer than the file")
        members[name] = _member(file, header, raw, (flags, method, crc, packed, plain))
        at += ENTRY.size + name_bytes
    if at != len(directory) or (entries and expected != place):
        raise ArchiveError("its directory is damaged")
    return (start if entries else place), members


def _most(size: int) -> int:
    """How many bytes all members of a file of ``size`` bytes may have when inflated."""
    return FLOOR + FACTOR * size


def _directory(file: BinaryIO, size: int, most: int) -> tuple[int, int, bytes]:
    """The number of members, and place and bytes of the directory."""
    if size < END.size:
        raise NoArchiveError("no ZIP")
    file.seek(size - END.size)
    end = file.read(END.size)
    if len(end) < END.size:
        raise ArchiveError("the file changed while it was read")
    signature, disk, first_disk, here, entries, length, place, comment = END.unpack(end)
    if signature != b"PK\x05\x06" or comment:
        raise NoArchiveError("no ZIP")
    if disk or first_disk or here != entries:
        raise ArchiveError("it is a part of several disks")
    if entries > most:
        raise ArchiveError(f"it has {entries} members, a bundle at most {most}")
    if place + length != size - END.size:
        raise ArchiveError("its directory is not before its end")
    file.seek(place)
    directory = file.read(length)
    if len(directory) != length:
        raise ArchiveError("the file changed while it was read")
    return entries, place, directory


def _member(file: BinaryIO, header: int, raw: bytes, described: tuple[int, int, int, int, int]) -> Member:
    """The member whose local header stands at ``header``, which must say what the directory says."""
    file.seek(header)
    _, method, crc, packed, plain = described
    local = file.read(LOCAL.size + len(raw))
    content = file.read(packed)
    if len(local) != LOCAL.size + len(raw) or len(content) != packed:
        raise ArchiveError("the file changed while it was read")
    signature, _, *same, crc_here, packed_here, plain_here, name_bytes, extra = LOCAL.unpack_from(local)
    here = (same[0], same[1], crc_here, packed_here, plain_here)
    if signature != b"PK\x03\x04" or here != described or local[LOCAL.size :] != raw or name_bytes != len(raw) or extra:
        raise ArchiveError("the header of a member is not what its directory says")
    return Member(raw.decode(), method, crc, plain, content)
