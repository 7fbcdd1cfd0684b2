"""Pixels that travel without shared memory."""

import errno
import os
import pickle
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from conftest import free_tcp_port
from stand_in import StandInViewer

import wellscope
from wellscope import segments, streaming


def _connect(viewer: StandInViewer, **options: object) -> wellscope.Viewer:
    return wellscope.Viewer(viewer.port, host="127.0.0.1", start=False, **options)  # type: ignore[arg-type]


def test_frames_carry_the_bytes_in_c_order_cut_where_they_are_long(
    monkeypatch: pytest.MonkeyPatch, made_segments: list[str]
) -> None:
    monkeypatch.setattr(streaming, "_FRAME_BYTES", 1000)
    array = np.arange(3 * 40 * 50, dtype=">u2").reshape(3, 50, 40).transpose(0, 2, 1)
    with StandInViewer(free_tcp_port()) as stand_in:
        _connect(stand_in, pixels="frames").add_image(array, axes="z y x", name="cells")
        (batch,) = stand_in.batches
    assert [item["frames"] for item in batch["images"]] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert b"".join(item["bytes"] for item in batch["images"]) == array.tobytes()
    assert {(tuple(item["shape"]), item["dtype"]) for item in batch["images"]} == {((40, 50), ">u2")}
    assert not any("shm_name" in item or "data" in item for item in batch["images"])
    assert set(stand_in.frame_sizes) == {1000} and made_segments == []


def test_a_message_says_all_that_viewers_of_openhcs_need() -> None:
    with StandInViewer(free_tcp_port()) as stand_in:
        viewer = _connect(stand_in, pixels="frames")
        viewer.add_labels(
            np.ones((2, 4, 4), np.int32),
            axes="drug y x",
            name="cells",
            at={"well": "B02"},
            labels={"drug": ["DMSO", "taxol"]},
            scale=(0.5, 0.25),
            units="um",
        )
        (batch,) = stand_in.batches
    assert batch["type"] == "batch" and batch["timestamp"] > 1.7e9
    config = batch["display_config"]
    assert set(config["component_modes"]) == {"site", "channel", "z_index", "timepoint", "well", "drug"}
    assert set(config["component_modes"].values()) == {"stack"} and config["component_order"] == ["drug", "well"]
    assert batch["component_value_domain"] == {"well": ["B02"], "drug": [0, 1]}
    assert batch["component_names_metadata"] == {"drug": {"0": "DMSO", "1": "taxol"}}
    item = batch["images"][1]
    assert item["metadata"] == {"well": "B02", "drug": 1} and item["labels"] is True and item["data_type"] == "image"
    assert item["image_metadata"]["source_voxel_spacing"] == {"values_zyx": [1.0, 0.5, 0.25], "unit": "um"}
    required = ("origin", "output_kind", "output_key", "projection_key")
    assert all(item["producer_identity"][field] for field in required)


def test_shared_memory_is_refused_to_other_machines() -> None:
    route = streaming.Route.to_viewer
    accepts = {"wellscope": {"accepts": ["frames"]}}
    assert route(accepts, is_on_this_machine=False, pixels="auto") == streaming.Route(False, True)
    assert route(accepts, is_on_this_machine=True, pixels="auto") == streaming.Route(True, True)
    assert route({}, is_on_this_machine=True, pixels="auto") == streaming.Route(True, False)
    with pytest.raises(wellscope.WellscopeError, match="this machine only; use pixels='frames'"):
        route(accepts, is_on_this_machine=False, pixels="shared_memory")
    with pytest.raises(wellscope.WellscopeError, match="does not take binary frames"):
        route({}, is_on_this_machine=True, pixels="frames")


def test_a_viewer_without_frames_gets_small_planes_as_text_and_a_sentence_for_others() -> None:
    with StandInViewer(free_tcp_port(), accepts=()) as stand_in:
        viewer = _connect(stand_in)
        # As if it were another machine's.
        viewer._known_route = streaming.Route(False, False)
        viewer.add_image(np.array([[1.5, 2.5], [np.inf, 4]]), name="small")
        with pytest.raises(wellscope.WellscopeError, match="cannot reach it; update wellscope there"):
            viewer.add_image(np.zeros((1000, 1000), np.uint8), name="large")
    assert stand_in.batches[0]["images"][0]["data"] == [1.5, 2.5, float("inf"), 4.0] and len(stand_in.batches) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
def test_frames_stand_in_when_shared_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    array = np.arange(200 * 300, dtype=np.uint16).reshape(200, 300)
    monkeypatch.setattr(segments.uuid, "uuid4", lambda: uuid.UUID(int=os.getpid() << 96))
    name = f"napari_{uuid.uuid4().hex[:12]}"
    with StandInViewer(free_tcp_port()) as stand_in:
        _connect(stand_in).add_image(array, name="cells")
        _connect(stand_in).add_image(array, name="cells")
    assert [batch["images"][0]["bytes"] for batch in stand_in.batches] == [array.tobytes()] * 2
    with StandInViewer(free_tcp_port(), accepts=()) as stand_in, pytest.raises(OSError, match="enlarge /dev/shm"):
        _connect(stand_in).add_image(array, name="cells")
    assert not Path("/dev/shm", name).exists()


def test_a_pickled_viewer_of_the_network_uses_frames() -> None:
    with StandInViewer(free_tcp_port()) as stand_in:
        viewer = _connect(stand_in)
        assert viewer._route.shared_memory
        copy = pickle.loads(pickle.dumps(viewer))
        assert copy._route == streaming.Route(False, True)
        copy.add_image(np.zeros((300, 300)), name="cells")
        copy.disconnect()
    assert [len(item["bytes"]) for item in stand_in.batches[0]["images"]] == [300 * 300 * 8]


def test_a_reply_that_is_no_reply_is_an_error() -> None:
    for reply, sentence in [
        ({"status": "error", "message": "no room"}, "refused images: no room"),
        ({"ok": 1}, "cannot be read"),
    ]:
        with (
            StandInViewer(free_tcp_port(), reply=reply) as stand_in,
            pytest.raises(wellscope.WellscopeError, match=sentence),
        ):
            _connect(stand_in).add_image(np.zeros((4, 4)))
