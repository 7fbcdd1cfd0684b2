"""Screenshots: PNG in, a numpy array that notebooks show as a picture out."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}


class Picture(np.ndarray[Any, np.dtype[np.uint8]]):
    """An 8-bit picture ``(height, width, 3 or 4)``: a plain array everywhere, a picture in notebooks."""

    def _repr_png_(self) -> bytes | None:
        is_picture = self.dtype == np.uint8 and self.ndim == 3 and self.shape[2] in (3, 4) and self.size > 0
        return encode_png(np.asarray(self)) if is_picture else None

    def save(self, path: str) -> None:
        """Writes it as a PNG file."""
        png = self._repr_png_()
        if png is None:
            raise ValueError(
                f"only (height, width, 3 or 4) of uint8 is a picture; this is {self.shape} of {self.dtype}"
            )
        with open(path, "wb") as file:
            file.write(png)


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """PNG of ``(height, width, 3 or 4)``."""
    height, width, samples = pixels.shape
    rows = np.zeros((height, 1 + width * samples), np.uint8)
    rows[:, 1:] = pixels.reshape(height, width * samples)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if samples == 3 else 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 3)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def decode_png(data: bytes) -> Picture:
    """Pixels ``(height, width, samples)`` of a PNG of 8 bits per sample, not interlaced, without palette.

    Raises
    ------
    ValueError
        For any other file.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("this is no PNG file")
    position, packed, header = len(_SIGNATURE), [], b""
    while position + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
        position += 12 + size
    if len(header) != 13:
        raise ValueError("the PNG file has no header")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if depth != 8 or colour not in _SAMPLES or interlace:
        raise ValueError(
            f"a PNG of 8 bits per sample is needed; this has depth {depth}, colour type {colour}, interlace {interlace}"
        )
    samples = _SAMPLES[colour]
    raw = np.frombuffer(zlib.decompress(b"".join(packed)), np.uint8)
    if raw.size != height * (1 + width * samples):
        raise ValueError("the PNG file is cut off")
    rows = raw.reshape(height, 1 + width * samples)
    return _unfiltered(rows[:, 0], rows[:, 1:].reshape(height, width, samples)).view(Picture)


def _unfiltered(filters: npt.NDArray[np.uint8], rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undoes the filters of PNG (ISO/IEC 15948, 9.2)."""
    if not np.any(filters >= 3):
        return _unfiltered_by_rows(filters, rows)
    # A pixel depends on its left, upper and upper left neighbours, so all pixels of one antidiagonal can be undone at
    # once: height + width steps instead of height x width. One row and column of zeros stand for what lies outside.
    height, width, samples = rows.shape
    out = np.zeros((height + 1, width + 1, samples), np.int16)
    kinds = filters.astype(np.intp)
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, up, corner = out[y + 1, x], out[y, x + 1], out[y, x]
        estimate = left + up - corner
        to_left, to_up, to_corner = abs(estimate - left), abs(estimate - up), abs(estimate - corner)
        paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
        kind = kinds[y][:, None]
        predicted = np.select([kind == 1, kind == 2, kind == 3, kind == 4], [left, up, (left + up) >> 1, paeth], 0)
        out[y + 1, x + 1] = (rows[y, x] + predicted) & 255
    return out[1:, 1:].astype(np.uint8)


def _unfiltered_by_rows(filters: npt.NDArray[np.uint8], rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    out = rows.copy()
    for y, kind in enumerate(filters):
        if kind == 1:
            np.cumsum(rows[y], axis=0, dtype=np.uint8, out=out[y])
        elif kind == 2 and y:
            out[y] += out[y - 1]
    return out
