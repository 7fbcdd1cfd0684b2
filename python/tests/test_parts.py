"""Parts that need no viewer: pictures, segments, arrays, shapes, replies."""

import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wellscope import shapes as shape_items
from wellscope.arrays import ArraySource
from wellscope.control import decode_reply
from wellscope.endpoint import Endpoint, is_loopback
from wellscope.errors import WellscopeError
from wellscope.napari_words import channel_colormaps, scale_of
from wellscope.picture import Picture, decode_png, encode_png
from wellscope.segments import Segment

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /dev/shm")


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def _png_with_filters(pixels: np.ndarray, filters: list[int]) -> bytes:
    """An encoder that is slow and plain: pixel by pixel, from the words of the standard."""
    height, width, samples = pixels.shape
    raw = bytearray()
    for y in range(height):
        raw.append(filters[y])
        for x in range(width):
            for s in range(samples):
                left = int(pixels[y, x - 1, s]) if x else 0
                up = int(pixels[y - 1, x, s]) if y else 0
                corner = int(pixels[y - 1, x - 1, s]) if x and y else 0
                predicted = [0, left, up, (left + up) // 2, _paeth(left, up, corner)][filters[y]]
                raw.append((int(pixels[y, x, s]) - predicted) % 256)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[samples], 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(raw))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )


@pytest.mark.parametrize(
    "filters", [[0] * 6, [1] * 6, [2] * 6, [3] * 6, [4] * 6, [0, 1, 2, 3, 4, 1], [4, 3, 2, 1, 0, 4]]
)
@pytest.mark.parametrize("samples", [3, 4])
def test_pictures_are_read_whatever_filters_wrote_them(filters: list[int], samples: int) -> None:
    pixels = np.random.default_rng(sum(filters)).integers(0, 256, (6, 9, samples), np.uint8)
    assert np.array_equal(decode_png(_png_with_filters(pixels, filters)), pixels)


def test_a_picture_is_shown_by_notebooks_and_parts_of_it_too() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 4), np.uint8)
    picture = decode_png(encode_png(pixels))
    assert isinstance(picture, Picture) and np.array_equal(picture, pixels)
    shown = picture._repr_png_()
    assert shown is not None and np.array_equal(decode_png(shown), pixels)
    part = picture[1:3, ::2, :3]._repr_png_()
    assert part is not None and np.array_equal(decode_png(part), pixels[1:3, ::2, :3])
    assert picture[0]._repr_png_() is None and (picture / 2)._repr_png_() is None


def test_files_that_are_no_such_picture_are_refused() -> None:
    good = encode_png(np.zeros((2, 2, 3), np.uint8))
    for wrong in (b"GIF89a", good[:8], good[:24] + b"\x10" + good[25:]):
        with pytest.raises(ValueError):
            decode_png(wrong)


@on_linux
@pytest.mark.parametrize("order", ["contiguous", "transposed", "stepped", "big-endian", "bool"])
def test_a_segment_has_the_bytes_in_c_order_and_is_unlinked(order: str) -> None:
    array: Any = np.arange(24 * 5, dtype=np.uint16).reshape(24, 5)
    array = {
        "contiguous": array,
        "transposed": array.T,
        "stepped": array[::-2, 1::2],
        "big-endian": array.astype(">u2"),
        "bool": array % 2 == 0,
    }[order]
    segment = Segment(array)
    path = Path("/dev/shm", segment.name)
    assert path.read_bytes() == array.tobytes() and path.stat().st_mode & 0o777 == 0o600
    segment.unlink()
    assert not path.exists()
    segment.unlink()


@on_linux
def test_making_segments_starts_no_process_and_warns_of_nothing() -> None:
    script = (
        "import os, numpy as np\nfrom wellscope.segments import Segment\n"
        "s = Segment(np.zeros(10)); os.unlink('/dev/shm/' + s.name)\n"
        "t = Segment(np.zeros(10)); t.unlink()\n"
        "import subprocess; command = ['ps', '--ppid', str(os.getpid()), '-o', 'comm=']\n"
        "print(subprocess.run(command, capture_output=True, text=True).stdout.split())\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", "['ps']")


def test_a_reply_is_data_and_nothing_of_it_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(marker),)

    reply = decode_reply(pickle.dumps({"status": "success", "snapshot": Bomb()}))
    assert reply["status"] == "success" and not marker.exists()
    for wrong in (b"", b"{}", pickle.dumps([1])):
        with pytest.raises(WellscopeError):
            decode_reply(wrong)


_CAPTURES = Path(__file__).parents[2] / "tests" / "captures"


def test_every_captured_reply_of_the_incumbent_can_be_read() -> None:
    replies = sorted(_CAPTURES.rglob("*.reply.pickle"))
    assert len(replies) >= 30
    read = {path.stem.partition(".")[0]: decode_reply(path.read_bytes()) for path in replies}
    (layer, *_) = read["state_full"]["layers"]
    assert dict(layer["producer_identities"][0])["step_name"] == "Gaussian Blur"
    assert read["navigate_bad"]["status"] == "error" and read["screenshot"]["resource"]["mime_type"] == "image/png"


def test_addresses_are_those_of_openhcs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    endpoint = Endpoint(5555, "ipc")
    assert endpoint.data_url == "ipc:///home/u/.openhcs/ipc/openhcs-zmq-5555.sock"
    assert endpoint.control_url == "ipc:///home/u/.openhcs/ipc/openhcs-zmq-6555.sock"
    assert str(endpoint.start_lock) == "/home/u/.openhcs/ipc/openhcs-zmq-5555.sock.startup.lock"
    tcp = Endpoint(5555, "tcp", "node7")
    assert (tcp.data_url, tcp.control_url) == ("tcp://node7:5555", "tcp://node7:6555")
    assert str(tcp.start_lock) == "/home/u/.openhcs/tcp/5555.startup.lock"
    assert Endpoint(1, "tcp", "::1").data_url == "tcp://[::1]:1"
    monkeypatch.setenv("HOME", "/" + "h" * 100)
    with pytest.raises(WellscopeError, match="use transport='tcp'"):
        _ = Endpoint(5555, "ipc").data_url
    for wrong in (0, 65000, "5555"):
        with pytest.raises(ValueError):
            Endpoint(wrong)  # type: ignore[arg-type]


def test_only_this_machine_is_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"))
    assert not any(is_loopback(host) for host in ("10.0.0.1", "node7", "0.0.0.0"))


def test_arrays_that_cannot_be_shown_say_what_to_do() -> None:
    for data, error, sentence in [
        (np.zeros((4, 4), complex), TypeError, "numpy.abs"),
        (np.array([["a", "b"]]), TypeError, "convert it to numbers"),
        (np.array([[None]]), TypeError, "list of 2-D arrays"),
        (np.zeros((0, 4)), ValueError, "empty"),
        ([np.zeros((4, 4)), np.zeros((2, 4, 4))], ValueError, "same number of axes"),
        ([np.zeros((2, 4, 4)), np.zeros((3, 4, 4))], ValueError, "differ in y and x only"),
    ]:
        with pytest.raises(error, match=sentence):
            ArraySource(data)


def test_whatever_has_array_is_read() -> None:
    class Wrapped:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.arange(12).reshape(3, 4)

    (offset, block), *rest = ArraySource(Wrapped()).blocks(0)
    assert offset == () and not rest and np.array_equal(block, np.arange(12).reshape(3, 4))
    assert ArraySource([[1, 2], [3, 4]]).shape == (2, 2)


def test_names_that_an_array_has_for_its_axes_are_used() -> None:
    class Named:
        """As xarray.DataArray."""

        def __init__(self, *dims: str) -> None:
            self.dims, self.shape, self.dtype, self.chunks = dims, (2, 3, 4), np.dtype("uint8"), None

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.zeros(self.shape, np.uint8)

        def __getitem__(self, key: Any) -> np.ndarray:
            raise AssertionError("it is in memory, so it is read as a whole")

    assert ArraySource(Named("drug", "y", "x")).axis_names == ("drug", "y", "x")
    assert ArraySource(Named("dim_0", "dim_1", "dim_2")).axis_names is None


def test_chunks_of_one_size_are_read_one_by_one() -> None:
    class Chunked:
        """As zarr: one size per axis, slices read from a file."""

        shape, dtype, chunks = (5, 6, 7), np.dtype("uint8"), (2, 3, 3)
        read: list[tuple[slice, ...]] = []

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            self.read.append(key)
            return np.arange(210, dtype=np.uint8).reshape(self.shape)[key]

    source = Chunked()
    blocks = dict(ArraySource(source).blocks(1))
    assert {offset: block.shape for offset, block in blocks.items()} == {
        (0,): (2, 6, 7),
        (2,): (2, 6, 7),
        (4,): (1, 6, 7),
    }
    assert source.read == [(slice(0, 2),), (slice(2, 4),), (slice(4, 5),)]


def test_shapes_are_read_as_napari_means_them() -> None:
    read = shape_items.shapes(
        [np.array([[5, 6], [2, 3]]), [[0, 0], [0, 9]]],
        shape_type=["ellipse", "line"],
        object_labels=[7, 8],
        features={"area": [1.5, 2.5]},
    )
    ellipse, line = read.by_place()[()]
    assert ellipse == {
        "type": "ellipse",
        "coordinates": [[3.0, 3.0], [3.0, 9.0], [7.0, 9.0], [7.0, 3.0]],
        "metadata": {"area": 1.5, "label": 7},
    }
    assert line["coordinates"] == [[0.0, 0.0], [0.0, 9.0]] and line["metadata"] == {"area": 2.5, "label": 8}
    rectangle = shape_items.shapes(
        np.array([[1, 2], [3, 4]]), shape_type="rectangle", object_labels=None, features=None
    ).by_place()[()]
    assert rectangle[0]["coordinates"] == [[1.0, 2.0], [1.0, 4.0], [3.0, 4.0], [3.0, 2.0]]


def test_leading_columns_say_on_which_plane_points_lie() -> None:
    groups = shape_items.points([[0, 5, 6], [2, 7, 8], [0, 1, 1]], object_labels=None, features=None).by_place()
    assert {place: [entry["coordinates"] for entry in entries] for place, entries in groups.items()} == {
        (0,): [[[5.0, 6.0]], [[1.0, 1.0]]],
        (2,): [[[7.0, 8.0]]],
    }


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        ([[[0, 0], [1, 1]]], {"shape_type": "polygon"}, "at least 3 vertices"),
        ([[[0, 0], [1, 1], [2, 0]]], {"shape_type": "blob"}, "is unknown"),
        ([[[0, 0], [1, 1], [2, 0]]], {"shape_type": "ellipse"}, "4 corners"),
        ([[[0, 0], [1, np.nan]]], {"shape_type": "line"}, "finite"),
        ([[[0, 0, 0], [1, 1, 1]]], {"shape_type": "line"}, "one plane"),
        ([], {"shape_type": "line"}, "no shapes"),
        ([[[0, 0], [1, 1]]], {"shape_type": "line", "object_labels": [0]}, "positive"),
        ([[[0, 0], [1, 1]]], {"shape_type": "line", "features": {"a": [1, 2]}}, "has 2 rows"),
    ],
)
def test_shapes_that_cannot_be_drawn_are_refused(data: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        shape_items.shapes(data, **{"object_labels": None, "features": None, **options})
    assert sentence in str(caught.value)


def test_scale_and_colormaps_follow_napari() -> None:
    assert scale_of((0.5, 0.25)) == (1.0, 0.5, 0.25) and scale_of([1, 3, 2, 2]) == (3.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="positive"):
        scale_of((0, 1))
    assert channel_colormaps(2) == ["magenta", "green"] and channel_colormaps(7)[6] == "cyan"


def test_importing_the_package_is_cheap_and_needs_no_dask() -> None:
    script = (
        "import sys, wellscope; assert not {'numpy', 'zmq', 'dask'} & set(sys.modules)\n"
        "wellscope.Viewer; assert 'dask' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ)
