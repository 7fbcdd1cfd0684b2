"""Arrays of dask: read chunk by chunk here, and shown by the worker processes of a cluster that compute them."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

import dask
import dask.array as da
import numpy as np
import pytest
from conftest import StartViewer, free_tcp_port, require_frames, values_at
from dask.distributed import Client, LocalCluster
from stand_in import StandInViewer

import wellscope
from wellscope import watching


def _numbered(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return (np.arange(np.prod(shape)) % 60_000).astype(dtype).reshape(shape)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    """Three worker processes, in which making a shared-memory segment is an error."""
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None) as workers,
        Client(workers) as client,
    ):
        client.run(_forbid_shared_memory)
        yield client


def _forbid_shared_memory() -> None:
    from wellscope.segments import Segment

    def refuse(*_: object) -> None:
        raise AssertionError("a worker made a shared-memory segment")

    Segment.__init__ = refuse  # type: ignore[assignment,method-assign]


def test_chunks_are_computed_once_and_shown_while_others_are_computed(
    start_viewer: StartViewer, made_segments: list[str]
) -> None:
    viewer = start_viewer()
    array = _numbered((2, 20, 200, 100))
    received: list[int] = []

    def load(block: np.ndarray) -> np.ndarray:
        received.append(viewer.state()["wellscope"]["receiver"]["images"])
        return block

    chunked = da.from_array(array, chunks=(1, 2, 200, 100)).map_blocks(
        load, dtype=array.dtype, meta=np.zeros((0,) * 4, array.dtype)
    )
    with dask.config.set(scheduler="synchronous"):
        viewer.add_image(chunked, axes="well z y x", name="chunks")
    # Two planes a chunk; all but the last four batches are with the viewer when the next chunk is computed.
    assert len(received) == 20
    assert all(2 * (index - 4) <= images <= 2 * index for index, images in enumerate(received))
    values = values_at(viewer, "chunks")
    assert len(values) == 40
    for (_, w), (_, z) in values:
        summary = values[(("well", w), ("z_index", z))]["summary"]
        assert (summary["min"], summary["max"]) == (array[w, z].min(), array[w, z].max())


def test_chunks_that_divide_planes_are_put_together(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    array = _numbered((2, 60, 70))
    viewer.add_image(da.from_array(array, chunks=(1, 32, 16)), axes="z y x", name="cut")
    found = values_at(viewer, "cut")
    assert [
        np.array_equal(np.ravel(found[(("z_index", z),)]["array_values"]), array[z].ravel())
        or found[(("z_index", z),)]["summary"]["max"] == array[z].max()
        for z in range(2)
    ] == [True, True]


def test_workers_send_the_blocks_that_they_compute(cluster: Client, made_segments: list[str]) -> None:
    array = _numbered((3, 2, 4, 300, 200))
    with StandInViewer(free_tcp_port()) as stand_in:
        viewer = wellscope.Viewer(stand_in.port, host="127.0.0.1", start=False)
        lazy = da.from_array(array, chunks=(1, 1, 2, 150, 200))
        labels = {"well": ["A01", "B02", "C03"], "channel": ["DAPI", "GFP"]}
        watched = viewer.watch(lazy, axes="well channel z y x", name="raw", labels=labels, values={"z": [1, 2, 3, 4]})
        assert stand_in.batches == []
        assert np.array_equal(watched.compute(), array)
    images = [item for batch in stand_in.batches for item in batch["images"]]
    places = {tuple(item["metadata"].values()): item for item in images}
    assert len(images) == len(places) == 3 * 2 * 4
    for w, well in enumerate(["A01", "B02", "C03"]):
        for c in range(2):
            for z in range(4):
                assert places[(well, c, z + 1)]["bytes"] == array[w, c, z].tobytes()
    # Every block tells how long the sliders will be, whoever sends it first.
    assert {str(batch["component_value_domain"]) for batch in stand_in.batches} == {
        str({"well": ["A01", "B02", "C03"], "channel": [0, 1], "z_index": [1, 2, 3, 4]})
    }
    assert stand_in.batches[0]["component_names_metadata"] == {"channel": {"0": "DAPI", "1": "GFP"}}
    assert made_segments == []


def _segment_well(viewer: wellscope.Viewer, well: str) -> int:
    pixels = np.full((300, 200), ord(well[0]), np.uint16)
    viewer.add_image(pixels, name="per well", at={"well": well})
    viewer.add_labels((pixels > 66).astype(np.int32), name="cells", at={"well": well})
    return os.getpid()


def test_tasks_per_well_fill_one_viewer_from_several_processes(cluster: Client, start_viewer: StartViewer) -> None:
    viewer = start_viewer(free_tcp_port(), transport="tcp")
    require_frames(viewer)
    wells = ["A01", "B02", "C03", "D04", "E05", "F06"]
    pids = cluster.gather(
        [
            cluster.submit(_segment_well, viewer, well, workers=[address], pure=False)
            for well, address in zip(wells, 2 * list(cluster.scheduler_info()["workers"]))
        ]
    )
    assert len(set(pids)) == 3 and os.getpid() not in pids
    found = {place[0][1]: record["summary"]["max"] for place, record in values_at(viewer, "per well").items()}
    assert found == {well: ord(well[0]) for well in wells}
    assert {place[0][1]: record["summary"]["max"] for place, record in values_at(viewer, "cells").items()} == {
        well: int(ord(well[0]) > 66) for well in wells
    }
    # Counted are the bytes read from shared memory: none.
    received = viewer.state()["wellscope"]["receiver"]
    assert (received["images"], received["bytes_copied"], received["errors_replied"]) == (12, 0, 0)


def test_the_work_goes_on_when_the_viewer_is_gone() -> None:
    with StandInViewer(free_tcp_port()) as stand_in:
        viewer = wellscope.Viewer(stand_in.port, host="127.0.0.1", start=False, timeout=1.0)
    watched = viewer.watch(da.ones((4, 20, 20), chunks=(1, 20, 20)), axes="z y x", name="lost")
    watching._lost_until.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with dask.config.set(scheduler="synchronous"):
            assert float(watched.sum().compute()) == 1600.0
    assert [
        str(warning.message).startswith("blocks are computed and not shown: no viewer")
        for warning in caught
        if warning.category is RuntimeWarning
    ] == [True]


def test_watch_is_for_dask_arrays() -> None:
    with StandInViewer(free_tcp_port()) as stand_in:
        viewer = wellscope.Viewer(stand_in.port, host="127.0.0.1", start=False)
        with pytest.raises(TypeError, match="use add_image for what is in memory"):
            viewer.watch(np.zeros((4, 4)))


def test_the_example_runs(start_viewer: StartViewer) -> None:
    viewer = start_viewer(free_tcp_port(), transport="tcp")
    require_frames(viewer)
    script = os.path.join(os.path.dirname(__file__), "..", "examples", "dask_blocks.py")
    subprocess.run([sys.executable, script, str(viewer._endpoint.port)], check=True, timeout=120, env=os.environ)
    assert viewer.layers.names == ["raw", "smoothed", "nuclei", "brightest ROIs"]
