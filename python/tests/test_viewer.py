"""What the viewer has and draws of what Python sends: each test asks the running program."""

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from conftest import StartViewer, values_at

import wellscope

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    ">u2",
    ">f8",
]


def _only(values: dict[Any, Any]) -> Any:
    (record,) = values.values()
    return record


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_viewer_has_every_value_of_every_type(
    shared_viewer: wellscope.Viewer, made_segments: list[str], dtype: str
) -> None:
    array = (
        (np.arange(200 * 300) % 2 if dtype == "bool" else np.arange(200 * 300) % 101).astype(dtype).reshape(200, 300)
    )
    layer = shared_viewer.add_image(array, name=f"as {dtype}")
    record = _only(values_at(shared_viewer, layer.name))
    summary = record["summary"]
    assert (tuple(summary["shape"]), summary["dtype"]) == ((200, 300), array.dtype.newbyteorder("=").name)
    assert (summary["min"], summary["max"], summary["nonzero_count"]) == (
        array.min(),
        array.max(),
        np.count_nonzero(array),
    )
    # Large enough for shared memory, which is gone by now.
    assert len(made_segments) == (1 if array.nbytes > 32 << 10 else 0) or "frames" not in _accepted(shared_viewer)


def _accepted(viewer: wellscope.Viewer) -> list[str]:
    pong = viewer._control.request("ping")
    return list(pong.get("wellscope", {}).get("accepts", ()))


@pytest.mark.parametrize(
    "make",
    [lambda a: a, lambda a: a.T, lambda a: a[::-1, ::2], np.asfortranarray],
    ids=["c", "t", "stepped", "fortran"],
)
def test_the_order_of_bytes_in_memory_does_not_matter(
    shared_viewer: wellscope.Viewer, make: Any, request: pytest.FixtureRequest
) -> None:
    array = make(np.arange(35, dtype=np.int16).reshape(5, 7))
    layer = shared_viewer.add_image(array, name=request.node.name)
    values = np.array(_only(values_at(shared_viewer, layer.name))["array_values"])
    assert np.array_equal(values.reshape(array.shape), array)


def test_each_axis_is_a_slider_and_each_plane_lies_where_it_belongs(shared_viewer: wellscope.Viewer) -> None:
    array = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    layer = shared_viewer.add_image(
        array,
        axes="well channel z y x",
        name="grid",
        labels={"well": ["B02", "A01"], "channel": ["DAPI", "GFP", "Cy5"]},
        values={"z": [1, 2, 3, 4]},
    )
    assert layer.values == {"well": ["A01", "B02"], "channel": [0, 1, 2], "z_index": [1, 2, 3, 4]}
    assert layer.state["labels"]["channel"] == ["Ch0: DAPI", "Ch1: GFP", "Ch2: Cy5"]
    values = values_at(shared_viewer, "grid")
    assert len(values) == 24
    for w, well in enumerate(["B02", "A01"]):
        for c in range(3):
            for z in range(4):
                record = values[(("channel", c), ("well", well), ("z_index", z + 1))]
                assert np.array_equal(np.ravel(record["array_values"]), array[w, c, z].ravel())


def test_navigating_takes_values_and_names(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    with pytest.raises(ValueError, match="shows nothing yet"):
        viewer.navigate(z=1)
    array = np.zeros((2, 2, 3, 8, 8), np.uint8)
    viewer.add_image(
        array, axes="well channel z y x", name="cells", labels={"well": ["A01", "B02"], "channel": ["DAPI", "GFP"]}
    )
    overlay = lambda: viewer.state()["wellscope"]["overlay"]  # noqa: E731
    assert overlay() == "Well A01 | Ch0: DAPI | Z 0"
    viewer.navigate(well="B02", channel="GFP", z=2)
    assert overlay() == "Well B02 | Ch1: GFP | Z 2"
    viewer.navigate(channel=0)
    assert overlay() == "Well B02 | Ch0: DAPI | Z 2"
    # Another process does not know the names, the viewer does.
    again = wellscope.Viewer(viewer._endpoint.port, start=False)
    again.navigate(channel="GFP")
    assert overlay() == "Well B02 | Ch1: GFP | Z 2"
    with pytest.raises(ValueError, match=r"channel has no 'Cy5'; layer 'cells' has 0 \(DAPI\), 1 \(GFP\)"):
        viewer.navigate(channel="Cy5")
    with pytest.raises(ValueError, match="no layer has sliders for drug; there are channel, well, z_index"):
        viewer.navigate(drug=1)
    with pytest.raises(KeyError, match="no layer is called 'nuclei'"):
        viewer.navigate(z=1, layer="nuclei")


def test_a_screenshot_shows_what_was_sent_last(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    array = np.zeros((3, 100, 100), np.uint16)
    array[1, :, 50:] = 1000
    viewer.add_image(array, axes="z y x", contrast_limits=(0, 1000), colormap="green")
    black = viewer.screenshot()
    assert black.dtype == np.uint8 and black.ndim == 3 and isinstance(black, wellscope.Picture)
    viewer.navigate(z=1)
    picture = np.asarray(viewer.screenshot())[..., :3].astype(int)
    height, width, _ = picture.shape
    left, right = picture[height // 2, width // 2 - 20], picture[height // 2, width // 2 + 20]
    assert tuple(left) == (0, 0, 0) and tuple(right) == (0, 255, 0)
    window = viewer.screenshot(canvas_only=False)
    assert window.shape[0] > height and window.shape[1] > width


def test_colour_images_show_their_colours(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    array = np.zeros((60, 60, 3), np.uint8)
    array[:] = (200, 100, 50)
    layer = viewer.add_image(array, axes="y x rgb", name="histology")
    assert layer.state["route_key"] == layer.route_key
    picture = np.asarray(viewer.screenshot())
    center = picture[picture.shape[0] // 2, picture.shape[1] // 2, :3].astype(int)
    assert np.abs(center - (200, 100, 50)).max() <= 1


def test_a_list_may_hold_images_of_different_sizes(shared_viewer: wellscope.Viewer) -> None:
    images = [np.full((4, 5), 1, np.uint8), np.full((6, 3), 2, np.uint8)]
    shared_viewer.add_image(images, axes="site y x", name="sites", values={"site": [7, 9]})
    found = {
        place: (tuple(record["summary"]["shape"]), record["summary"]["max"])
        for place, record in values_at(shared_viewer, "sites").items()
    }
    assert found == {(("site", 7),): ((4, 5), 1), (("site", 9),): ((6, 3), 2)}


def test_the_same_name_adds_and_replaces_planes(shared_viewer: wellscope.Viewer) -> None:
    for z, value in [(0, 1), (1, 2), (0, 3)]:
        shared_viewer.add_image(np.full((4, 4), value, np.uint8), name="live", at={"z": z, "well": "C03"})
    found = {place: record["summary"]["max"] for place, record in values_at(shared_viewer, "live").items()}
    assert found == {(("well", "C03"), ("z_index", 0)): 3, (("well", "C03"), ("z_index", 1)): 2}
    with pytest.raises(ValueError, match="at= names z_index"):
        shared_viewer.add_image(np.zeros((2, 4, 4)), name="live", axes="z y x", at={"z": 1})


def test_layers_without_a_name_get_napari_s(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    first, second = viewer.add_image(np.zeros((4, 4))), viewer.add_image(np.ones((4, 4)))
    assert (first.name, second.name, viewer.layers.names) == ("Image", "Image [1]", ["Image", "Image [1]"])
    smoothed = np.zeros((4, 4))
    third, fourth = viewer.add_image(smoothed), viewer.add_labels(smoothed.astype(np.uint8))
    assert (third.name, fourth.name) == ("smoothed", "Labels"), "the caller's variable"
    assert viewer.add_image(smoothed).name == "smoothed [1]"
    frames = [viewer.add_image(frame, at={"time": time}) for time, frame in enumerate(np.zeros((3, 4, 4)))]
    assert {layer.name for layer in frames} == {"frame"} and frames[0].values["timepoint"] == [0, 1, 2]
    points = [viewer.add_points([[1, 2]], at={"well": well}).name for well in ("A01", "B02")]
    assert points == ["Points", "Points"]


def test_a_channel_axis_becomes_layers(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    array = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(3, 2, 4, 5)
    layers = viewer.add_image(
        array,
        axes="z channel y x",
        channel_axis=1,
        labels={"channel": ["DAPI", "GFP"]},
        contrast_limits=[(0, 10), (5, 20)],
        gamma=[1.0, 0.5],
    )
    assert [layer.name for layer in layers] == ["DAPI", "GFP"]
    assert [layer.contrast_limits for layer in layers] == [(0.0, 10.0), (5.0, 20.0)] and [
        layer.gamma for layer in layers
    ] == [1.0, 0.5]
    assert [layer.values for layer in layers] == [{"z_index": [0, 1, 2]}] * 2
    assert np.array_equal(np.ravel(values_at(viewer, "GFP")[(("z_index", 2),)]["array_values"]), array[2, 1].ravel())
    by_name = viewer.add_image(array, axes="z channel y x", channel_axis="c", name="by name")
    assert [layer.name for layer in by_name] == ["by name", "by name [1]"]
    with pytest.raises(ValueError, match="there are z, channel"):
        viewer.add_image(array, axes="z channel y x", channel_axis=2)
    with pytest.raises(ValueError, match="3 colormaps are given for 2 channels"):
        viewer.add_image(array, axes="z channel y x", channel_axis=1, colormap=["red", "green", "blue"])


def test_settings_of_a_layer_can_be_read_and_changed(shared_viewer: wellscope.Viewer) -> None:
    layer = shared_viewer.add_image(
        np.arange(64.0).reshape(8, 8), name="settings", visible=False, contrast_limits=(3, 30), gamma=2
    )
    assert (layer.visible, layer.contrast_limits, layer.gamma) == (False, (3.0, 30.0), 2.0)
    layer.visible = True
    layer.contrast_limits = (1, 2)
    assert (layer.visible, layer.contrast_limits, layer.gamma) == (True, (1.0, 2.0), 2.0)
    layer.gamma = 0.5
    assert (layer.contrast_limits, layer.gamma) == ((1.0, 2.0), 0.5)
    for limits in ((2, 1), (1,), "ab", None):
        with pytest.raises(ValueError):
            layer.contrast_limits = limits  # type: ignore[assignment]
    with pytest.raises(ValueError, match="above 0"):
        layer.gamma = 0
    shapes = shared_viewer.add_points([[1, 2]], name="no intensity")
    with pytest.raises(ValueError, match="holds no images"):
        shapes.gamma = 1


def test_show_only_hides_the_others(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    for name in ("a", "b", "c"):
        viewer.add_image(np.zeros((4, 4)), name=name)
    viewer.show_only("c", "a")
    assert [(layer["title"], layer["visible"], layer["selected"]) for layer in viewer.state()["layers"]] == [
        ("a", True, False),
        ("b", False, False),
        ("c", True, True),
    ]
    with pytest.raises(KeyError, match="no layer is called 'd'"):
        viewer.show_only("d")


def test_labels_shapes_and_points_lie_at_their_places(shared_viewer: wellscope.Viewer) -> None:
    shared_viewer.add_labels(np.array([[0, 1], [2, 70000]], np.int32), name="objects", at={"well": "B02"})
    assert _only(values_at(shared_viewer, "objects"))["array_values"] in (((0, 1), (2, 70000)), (0, 1, 2, 70000))
    with pytest.raises(TypeError, match="labels are integers"):
        shared_viewer.add_labels(np.zeros((4, 4)))

    outlines = [[[0, 0], [0, 5], [5, 5]], [[1, 1], [1, 6], [6, 6]]]
    layer = shared_viewer.add_shapes(
        outlines,
        shape_type="polygon",
        name="outlines",
        at={"well": "B02"},
        object_labels=[5, 9],
        features={"area": [12.5, 13.5]},
    )
    state = layer.state
    assert (state["data_types"], state["feature_row_count"]) == (("shapes",), 2)
    payload = shared_viewer._control.call("payloads", {"controls": {"route_key": layer.route_key}})["layers"][0][
        "payloads"
    ][0]
    assert payload["components"] == {"well": "B02"}
    assert [shape["metadata"] for shape in payload["shape_payloads"]] == [
        {"area": 12.5, "label": 5},
        {"area": 13.5, "label": 9},
    ]
    assert payload["shape_payloads"][1]["coordinates"] == ((1.0, 1.0), (1.0, 6.0), (6.0, 6.0))

    points = shared_viewer.add_points([[0, 5, 6], [2, 7, 8]], axes="z y x", name="spots")
    assert points.values == {"z_index": [0, 2]} and points.state["data_types"] == ("points",)
    # The title says what it is; the name as given finds it too.
    assert shared_viewer.layers["spots"].route_key == points.route_key


def test_what_napari_has_and_this_has_not_gets_a_sentence(shared_viewer: wellscope.Viewer) -> None:
    for option, sentence in [
        ("opacity", "in the viewer's panel"),
        ("multiscale", "pass the full array"),
        ("rendering", "planes, not volumes"),
        ("nonsense", "unexpected keyword"),
    ]:
        with pytest.raises(TypeError, match=sentence):
            shared_viewer.add_image(np.zeros((4, 4)), **{option: 1})
    with pytest.raises(TypeError, match="object_labels"):
        shared_viewer.add_points([[1, 2]], face_color="red")


def test_view_shows_an_array_and_finds_its_layer_again(shared_viewer: wellscope.Viewer) -> None:
    port = shared_viewer._endpoint.port
    viewer = wellscope.view(np.full((4, 4), 5, np.uint8), port=port)
    wellscope.view(np.full((4, 4), 6, np.uint8), port=port)
    assert _only(values_at(viewer, "array"))["summary"]["max"] == 6
    field = np.full((4, 4), 7, np.uint8)
    for _ in range(2):
        wellscope.view(field, port=port)
    assert [name for name in viewer.layers.names if "field" in name] == ["field"]


def test_many_planes_go_in_several_batches_and_progress_is_told(shared_viewer: wellscope.Viewer) -> None:
    told: list[tuple[int, int]] = []
    before = shared_viewer.state()["wellscope"]["receiver"]
    shared_viewer.add_image(
        np.zeros((1200, 8, 8), np.uint8),
        axes="t y x",
        name="movie",
        progress=lambda done, total: told.append((done, total)),
    )
    after = shared_viewer.state()["wellscope"]["receiver"]
    assert (after["images"] - before["images"], after["batches"] - before["batches"]) == (1200, 3)
    assert told == [(index, 1200) for index in range(1, 1201)]


def test_threads_may_share_a_viewer(shared_viewer: wellscope.Viewer, made_segments: list[str]) -> None:
    def send(z: int) -> None:
        shared_viewer.add_image(np.full((200, 200), z, np.uint8), name="threads", at={"z": z})

    threads = [threading.Thread(target=send, args=(z,)) for z in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record["summary"]["max"] for record in values_at(shared_viewer, "threads").values()) == list(
        range(12)
    )


def test_a_refusal_carries_the_viewer_s_sentence(start_viewer: StartViewer, made_segments: list[str]) -> None:
    viewer = start_viewer(arguments=["--max-image", "1MiB"])
    with pytest.raises(wellscope.ViewerRefused) as caught:
        viewer.add_image(np.zeros((1024, 1025), np.uint8), name="large")
    assert "the viewer at port" in str(caught.value) and "1049600" in str(caught.value)
    # The next one is shown.
    viewer.add_image(np.zeros((1024, 1024), np.uint8), name="large")
    assert viewer.layers.names == ["large"]


def test_an_array_that_fails_half_way_keeps_what_was_sent(
    shared_viewer: wellscope.Viewer, made_segments: list[str]
) -> None:
    class Failing:
        shape, dtype, chunks = (3, 200, 300), np.dtype("uint8"), (1, 200, 300)

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            if key[0].start == 2:
                raise OSError("the file ends here")
            return np.ones((1, 200, 300), np.uint8)

    with pytest.raises(OSError, match="the file ends here"):
        shared_viewer.add_image(Failing(), axes="z y x", name="failing")
    shared_viewer.add_image(np.zeros((200, 300), np.uint8), name="after it")
    assert "after it" in shared_viewer.layers


def test_camera_can_be_read_and_set(shared_viewer: wellscope.Viewer) -> None:
    shared_viewer.add_image(np.zeros((100, 200), np.uint8), name="camera")
    shared_viewer.camera = ((40, 60), 3.0)
    assert shared_viewer.camera == ((40.0, 60.0), 3.0)


def test_a_pickled_viewer_is_the_same_viewer(shared_viewer: wellscope.Viewer) -> None:
    copy = pickle.loads(pickle.dumps(shared_viewer))
    copy.add_image(np.zeros((4, 4)), name="from a copy")
    assert "from a copy" in shared_viewer.layers
    assert pickle.loads(pickle.dumps(shared_viewer)) is copy


def test_clearing_forgets_what_was_sent(start_viewer: StartViewer) -> None:
    viewer = start_viewer()
    viewer.add_image(np.zeros((3, 4, 4)), axes="z y x", name="old")
    viewer.clear()
    viewer.add_image(np.zeros((4, 4)), at={"z": 1}, name="old")
    assert list(values_at(viewer, "old")) == [(("z_index", 1),)]
