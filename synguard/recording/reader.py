"""Recordings from files."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from synguard.errors import NotPermittedError, UsageError
from synguard.recording.columns import DamagedError
from synguard.recording.decoder import Decoder, validated
from synguard.recording.frames import FrameReader
from synguard.recording.heads import FileHead
from synguard.recording.shape import Moment


class Recording:
    """One open recording: its head at once, its moments one by one. A context manager."""

    def __init__(self, path: Path) -> None:
        """Open a recording.

        Raises:
            NotPermittedError: It may not be read.
            UsageError: There is none, or it is no recording.
        """
        self.path = path
        self._file, self.size = _opened(path)
        self._frames = FrameReader(self._file)
        try:
            self.head = self._head()
            self._decoder = Decoder(self.head)
        except DamagedError as error:
            self._file.close()
            raise UsageError(f"{path} cannot be replayed: {error}") from error
        except OSError as error:
            self._file.close()
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def offset(self) -> int:
        """Bytes read so far, of ``size``."""
        return self._frames.offset

    @property
    def cut_short(self) -> bool:
        """Whether the last record was found cut off: the agent was killed as it wrote. All before it is whole."""
        return self._frames.cut_short

    def moments(self) -> Iterator[Moment]:
        """Yield what is left of the ticks, in order.

        Raises:
            UsageError: The file is damaged, other than by ending too early.
        """
        try:
            while (frame := self._frames.frame()) is not None:
                yield self._decoder.read(frame)
        except DamagedError as error:
            raise UsageError(
                f"{self.path} is damaged at byte {self.offset}: {error}; record anew, or cut it there: "
                f"truncate -s {self.offset} {self.path}"
            ) from error
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror}") from error

    def _head(self) -> FileHead:
        self._frames.begin()
        frame = self._frames.frame()
        if frame is None:
            raise DamagedError("it ends before its first tick")
        return validated(FileHead, frame)


def _opened(path: Path) -> tuple[BinaryIO, int]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is not a regular file: name a recording that synguard run --record wrote")
        file = path.open("rb")
        return file, path.stat().st_size
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; record one with: synguard run --record {path}") from error
    except PermissionError as error:
        raise NotPermittedError(f"{path} may not be read: recordings belong to who made them; try sudo") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
