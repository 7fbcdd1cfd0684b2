# %% [markdown]
# # A distributed array in one viewer
#
# Worker processes compute blocks of a plate; each worker streams what it computes to one viewer, over TCP and without
# shared memory. On a cluster, start the viewer for other machines too and connect to your scheduler:
#
#     viewer = wellscope.Viewer(transport="tcp", bind="0.0.0.0")   # everybody who reaches this machine can stream to it
#     client = Client("tcp://scheduler:8786")
#
# Needs `pip install "dask[array]" distributed`.

# %%
import sys

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster

import wellscope

PLATE = ["A01", "A02", "B01", "B02"]


def field_of_cells(well: int, channel: int) -> np.ndarray:
    """A z-stack (4, 256, 256) of round cells; other wells, other cells."""
    random = np.random.default_rng(1000 * well + channel)
    y, x = np.mgrid[:256, :256]
    stack = random.normal(200, 20, (4, 256, 256))
    for center_y, center_x, radius in random.uniform((20, 20, 6), (236, 236, 14), (25, 3)):
        disc = np.exp(-((y - center_y) ** 2 + (x - center_x) ** 2) / (2 * radius**2))
        stack += 3000 * disc * np.array([0.4, 1.0, 0.8, 0.3])[:, None, None]
    return stack.clip(0, 65535).astype(np.uint16)


def load(block_info=None) -> np.ndarray:
    """One block of the plate, as a file reader would give it."""
    (well, _), (channel, _) = block_info[None]["array-location"][:2]
    return field_of_cells(well, channel)[np.newaxis, np.newaxis]


def smooth(block: np.ndarray) -> np.ndarray:
    """Mean of the neighbours in y and x."""
    total = sum(np.roll(block.astype(np.float32), (dy, dx), (-2, -1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    return total / np.float32(9)


def brightest_cell(viewer: wellscope.Viewer, stack: np.ndarray, well: str) -> str:
    """A task per well, which streams what it finds by itself."""
    z, y, x = np.unravel_index(stack[0].argmax(), stack[0].shape)
    viewer.add_shapes([[[y, x], [12, 12]]], shape_type="ellipse", name="brightest", at={"well": well})
    return f"{well}: z {z}, y {y}, x {x}"


# %%
def main(port: int) -> None:
    """Computes the plate on four worker processes and shows it while it is computed."""
    viewer = wellscope.Viewer(port, transport="tcp")
    with LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        chunks = ((1,) * len(PLATE), (1, 1), (4,), (256,), (256,))
        raw = da.map_blocks(load, chunks=chunks, dtype=np.uint16, meta=np.zeros((0,) * 5, np.uint16))
        named = {"axes": "well channel z y x", "labels": {"well": PLATE, "channel": ["DAPI", "GFP"]}}

        # Each block is shown when a worker has computed it; the arrays are what they were.
        raw = viewer.watch(raw, name="raw", **named)
        smoothed = viewer.watch(
            raw.map_blocks(smooth, dtype=np.float32, meta=np.zeros((0,) * 5, np.float32)), name="smoothed", **named
        )
        nuclei = viewer.watch((smoothed > 1200).astype(np.int32), name="nuclei", is_labels=True, **named)
        share = nuclei.mean(axis=(1, 2, 3, 4)).compute()
        print({well: round(float(value), 3) for well, value in zip(PLATE, share)})

        # The same handle works inside any task.
        stacks = [client.submit(field_of_cells, index, 0) for index in range(len(PLATE))]
        found = [
            client.submit(lambda stack, well: brightest_cell(viewer, stack[np.newaxis], well), stack, well)
            for stack, well in zip(stacks, PLATE)
        ]
        print(client.gather(found))

    viewer.navigate(well="B02", channel="GFP", z=1)
    print(viewer.layers)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5555)
