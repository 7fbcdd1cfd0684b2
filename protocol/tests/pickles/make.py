"""Write the pickles of this folder: one value per file, at every protocol that Python has.

Run with numpy 2 installed; with numpy 1 it writes only the `numpy1` files, whose globals are spelled `numpy.core`.
`tests/python_pickles.rs` reads them and compares with the values below.
"""

import pickle
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def builtins() -> dict:
    """Every builtin that the decoder reads."""
    shared = ["shared"]
    return {
        "none": None,
        "bools": [True, False],
        "ints": (0, 255, 256, 65535, 65536, -1, -(2**31), 2**31, 2**63 - 1, -(2**63), 2**63, 2**64 - 1),
        "floats": [0.0, 1.5, -2.5e300, float("inf")],
        "text": ["", "plain", "Zelle µm \n\\ \u20ac \U0001f52c", "x" * 300],
        "bytes": [b"", b"\x00\xff", bytes(range(256)) * 2],
        "bytearray": [bytearray(), bytearray(b"\x00\xff")],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "dict": {"a": {}, 2: "two", (1, 2): None},
        "set": {7},
        "empty_sets": [set(), frozenset()],
        "frozenset": frozenset([8]),
        "shared": [shared, shared],
        "deep": [[[[]] * 2] * 2] * 2,
    }


def arrays() -> dict:
    """numpy arrays and scalars."""
    base = np.arange(6, dtype=np.uint16).reshape(2, 3)
    return {
        "u2": base,
        "fortran": np.asfortranarray(base),
        "transposed": base.T,
        "big_endian": base.astype(">u2"),
        "f4": np.array([1.5, -2.0], dtype=np.float32),
        "f2": np.array([0.5], dtype=np.float16),
        "bool": np.array([True, False]),
        "i8": np.array([[-1]], dtype=np.int64),
        "c8": np.array([1 + 2j], dtype=np.complex64),
        "empty": np.zeros((0, 4), dtype=np.uint8),
        "zero_axes": np.array(7, dtype=np.int32),
        "scalar_u2": np.uint16(65535),
        "scalar_f8": np.float64(0.25),
        "scalar_bool": np.bool_(True),
    }


def refused() -> dict:
    """Arrays whose elements are no numbers."""
    return {
        "object_array": np.array([1, "a"], dtype=object),
        "text_array": np.array(["ab"]),
        "date_array": np.array(["2026-01-01"], dtype="datetime64[D]"),
        "record_array": np.zeros(1, dtype=[("a", "u2")]),
        "int_65_bits": 2**64,
        "complex": 1j,
    }


def main() -> None:
    numpy1 = np.__version__.startswith("1.")
    for protocol in range(6):
        if not numpy1:
            (HERE / f"builtins.p{protocol}.pickle").write_bytes(pickle.dumps(builtins(), protocol))
        name = "arrays_numpy1" if numpy1 else "arrays_numpy2"
        (HERE / f"{name}.p{protocol}.pickle").write_bytes(pickle.dumps(arrays(), protocol))
    if not numpy1:
        for name, value in refused().items():
            (HERE / f"refused_{name}.pickle").write_bytes(pickle.dumps(value, 4))
        buffers: list = []
        out_of_band = pickle.dumps(arrays()["u2"], 5, buffer_callback=buffers.append)
        (HERE / "refused_out_of_band.pickle").write_bytes(out_of_band)
    sys.stdout.write(f"written with numpy {np.__version__}\n")


if __name__ == "__main__":
    main()
