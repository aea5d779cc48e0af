"""Frames: what a recording is made of, and how much of it a killed agent leaves whole.

::

    53 59 4e 47 52 45 43 01             "SYNGREC", version 1
    length u32 LE, crc32 u32 LE, bytes  a frame; the first holds the file's head, every other one tick
    …

All frames are one zlib stream, flushed at the end of each: a tick costs what is new in it, and all that came before
a cut can be read. The checksum is of the compressed bytes.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, Final

from synguard.recording.columns import DamagedError
from synguard.recording.heads import VERSION

MAGIC: Final = b"SYNGREC"
FIRST: Final = MAGIC + bytes([VERSION])
_FRAME: Final = struct.Struct("<II")
LARGEST: Final = 32 * 1024 * 1024
"""Bytes of one frame, packed or not; a tick of ``MOST_ROWS`` in every table has less."""
_LEVEL: Final = 6
"""Against level 1: calm recordings are 40 % smaller, floods 3 to 6 %, at some 1.6 times the time (0.2 ms a flooded
tick). Level 9 saves 1 to 4 % more for half as much time again."""


class FrameWriter:
    """Packs frames."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(_LEVEL)

    def frame(self, content: bytes) -> bytes:
        """Return the bytes of the next frame."""
        packed = self._zlib.compress(content) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        return _FRAME.pack(len(packed), zlib.crc32(packed)) + packed


class FrameReader:
    """Takes a file's frames one by one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zlib = zlib.decompressobj()
        self.offset = 0
        """Bytes of the file that were read as whole frames."""
        self.cut_short = False
        """Whether the file ends in the midst of a frame, as one does whose writer was killed."""

    def begin(self) -> None:
        """Read the first bytes.

        Raises:
            DamagedError: They are not those of a recording that this release reads.
        """
        first = self._file.read(len(FIRST))
        if not first.startswith(MAGIC) or len(first) < len(FIRST):
            raise DamagedError("it is no recording of synguard")
        if first != FIRST:
            raise DamagedError(f"it is of version {first[-1]}, and this release reads version {VERSION}")
        self.offset = len(first)

    def frame(self) -> bytes | None:
        """Return the content of the next frame, or None where no whole one is left.

        Raises:
            DamagedError: The bytes are not those that were written.
        """
        start = self._file.read(_FRAME.size)
        if len(start) < _FRAME.size:
            self.cut_short = bool(start)
            return None
        size, checksum = _FRAME.unpack(start)
        if size > LARGEST:
            raise DamagedError("a frame is larger than any recorder writes")
        packed = self._file.read(size)
        if len(packed) < size:
            self.cut_short = True
            return None
        if zlib.crc32(packed) != checksum:
            raise DamagedError("its checksum is wrong")
        content = self._unpacked(packed)
        self.offset += _FRAME.size + size
        return content

    def _unpacked(self, packed: bytes) -> bytes:
        try:
            content = self._zlib.decompress(packed, LARGEST)
        except zlib.error as error:
            raise DamagedError("it cannot be unpacked") from error
        if self._zlib.unconsumed_tail or self._zlib.eof:
            raise DamagedError("a frame is larger than any recorder writes")
        return content
