"""Shared-memory segments: made, filled once, unlinked when the viewer has replied.

Not ``multiprocessing.shared_memory`` on Linux: its resource tracker is a process more, warns of what others unlinked,
and in Python before 3.13 cannot be turned off.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt

_FOLDER = "/dev/shm"
_LONGEST_WRITE = 1 << 30


class NoRoom(OSError):
    """Shared memory is full (containers often give /dev/shm only 64 MiB)."""


class Segment:
    """One segment with the bytes of an array in C order.

    Attributes
    ----------
    name
        As on the wire, without a leading slash. Receivers that clean up after older producers know the prefix.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.name = f"napari_{uuid.uuid4().hex[:12]}"
        self._memory: Any = None
        if sys.platform == "linux":
            self._write_file(array)
        else:
            self._write_portable(array)

    def unlink(self) -> None:
        """Removes it. That somebody else did so already is fine."""
        if self._memory is not None:
            memory, self._memory = self._memory, None
            memory.close()
            with contextlib.suppress(FileNotFoundError):
                memory.unlink()
        elif sys.platform == "linux":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{_FOLDER}/{self.name}")

    def _write_file(self, array: npt.NDArray[Any]) -> None:
        file = os.open(f"{_FOLDER}/{self.name}", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            # Reserved first: a page that cannot be had later would end this process by a signal.
            os.posix_fallocate(file, 0, max(array.nbytes, 1))
            if array.flags.c_contiguous:
                _write_all(file, memoryview(array.reshape(-1).view(np.uint8).data))
            else:
                with mmap.mmap(file, array.nbytes) as mapped:
                    target = np.frombuffer(mapped, array.dtype).reshape(array.shape)
                    np.copyto(target, array)
                    # A mapping cannot be closed while an array looks at it.
                    del target
        except OSError as error:
            self.unlink()
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise NoRoom(f"shared memory has no room for {array.nbytes} bytes; enlarge /dev/shm") from error
            raise
        except BaseException:
            self.unlink()
            raise
        finally:
            os.close(file)

    def _write_portable(self, array: npt.NDArray[Any]) -> None:
        from multiprocessing import resource_tracker, shared_memory

        # Open until unlinked: on Windows a segment lives as long as somebody has it open.
        if sys.version_info >= (3, 13):
            memory = shared_memory.SharedMemory(self.name, create=True, size=max(array.nbytes, 1), track=False)
        else:
            memory = shared_memory.SharedMemory(self.name, create=True, size=max(array.nbytes, 1))
            if os.name != "nt":
                resource_tracker.unregister(getattr(memory, "_name", self.name), "shared_memory")
        target = np.frombuffer(memoryview(memory.buf or b""), array.dtype, count=array.size).reshape(array.shape)
        np.copyto(target, array)
        del target
        self._memory = memory


def _write_all(file: int, data: memoryview) -> None:
    position = 0
    while position < len(data):
        position += os.pwrite(file, data[position : position + _LONGEST_WRITE], position)
