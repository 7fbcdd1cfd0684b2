#!/usr/bin/env python3
"""Write assets/colormaps: 256-entry tables of matplotlib's colormaps, and a palette for label images.

Run it again only to move to another matplotlib; the tables are committed. It makes its own virtual environment
(below the user's cache folder), so it needs nothing but Python 3.11 and a network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MATPLOTLIB = "3.10.8"
NUMPY = "2.2.6"
FOLDER = Path(__file__).resolve().parent.parent / "assets" / "colormaps"

# Other names of stored tables, or ramps that the viewer computes. `Grays` is left out because Fiji's users mean black to
# white by it, and matplotlib white to black.
NOT_STORED = {"Grays", "gray", "grey", "gist_grey", "gist_yerg"}


def enter_environment() -> None:
    """Run this script again inside a virtual environment that holds the pinned packages."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment = cache / "wellscope" / f"make-colormaps-{MATPLOTLIB}"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    packages = [f"matplotlib=={MATPLOTLIB}", f"numpy=={NUMPY}"]
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
    sys.exit(subprocess.run([str(python), __file__, "--inside"], check=False).returncode)


def lab_from_rgb(rgb):
    """Convert sRGB to CIELAB (D65).

    Parameters
    ----------
    rgb : array, shape (n, 3)
        Values 0..255.

    Returns
    -------
    array, shape (n, 3)
    """
    import numpy as np

    encoded = rgb / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def distinct_colours():
    """Choose 256 colours, white first, each as far in CIELAB from black and from all before it as the grid allows.

    Returns
    -------
    array of uint8, shape (256, 3)

    Notes
    -----
    The idea is that of "Colour displays for categorical images" (doi 10.1002/col.20327).
    """
    import numpy as np

    levels = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
    lab = lab_from_rgb(grid)
    # Black counts as taken: it is the background that labels are drawn over.
    distance = np.linalg.norm(lab - lab_from_rgb(np.zeros((1, 3))), axis=1)
    chosen = [len(grid) - 1]
    while len(chosen) < 256:
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return grid[chosen].astype(np.uint8)


def main() -> None:
    """Write `tables.rgb` and `names.txt`."""
    import matplotlib
    import numpy as np

    names = sorted(name for name in matplotlib.colormaps if not name.endswith("_r") and name not in NOT_STORED)
    tables = [
        np.floor(matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255 + 0.5).astype(np.uint8)
        for name in names
    ]
    names.append("glasbey")
    tables.append(distinct_colours())

    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "tables.rgb").write_bytes(np.stack(tables).tobytes())
    (FOLDER / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{len(names)} colormaps of matplotlib {matplotlib.__version__} written to {FOLDER}")


if __name__ == "__main__":
    if "--inside" in sys.argv:
        main()
    else:
        enter_environment()
