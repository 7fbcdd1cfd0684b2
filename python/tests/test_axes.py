"""Which axis is what, which values it has, and what is said when that cannot be."""

import numpy as np
import pytest

from wellscope.axes import Axes, coordinates, parse_axes, plain_value


def test_words_letters_and_lists_name_the_same_axes() -> None:
    expected = Axes(("timepoint", "channel", "z_index"), ("t", "c", "z"), False)
    assert parse_axes("t c z y x", (2, 3, 4, 8, 9)) == expected
    assert parse_axes("t, c, z, y, x", (2, 3, 4, 8, 9)) == expected
    assert parse_axes(["t", "c", "z", "y", "x"], (2, 3, 4, 8, 9)) == expected
    assert parse_axes("TCZYX", (2, 3, 4, 8, 9)).leading == expected.leading
    assert parse_axes("yx", (8, 9)).leading == ()


def test_every_spelling_of_a_component_is_known() -> None:
    for axis, component in [
        ("time", "timepoint"),
        ("timepoint", "timepoint"),
        ("frame", "timepoint"),
        ("z_index", "z_index"),
        ("Channel", "channel"),
        ("field", "site"),
        ("well", "well"),
        ("drug", "drug"),
    ]:
        assert parse_axes(f"{axis} y x", (2, 8, 9)).leading == (component,)


def test_axes_without_names_get_the_usual_ones() -> None:
    assert parse_axes(None, (8, 9)).leading == ()
    assert parse_axes(None, (2, 8, 9)).leading == ("z_index",)
    assert parse_axes(None, (3, 2, 8, 9)).leading == ("channel", "z_index")
    assert parse_axes(None, (1, 1, 1, 3, 2, 8, 9)).leading == ("well", "site", "timepoint", "channel", "z_index")
    assert parse_axes(None, (2, 8, 9, 3), rgb=True) == Axes(("z_index",), ("z",), True)


@pytest.mark.parametrize(
    ("axes", "shape", "rgb", "sentence"),
    [
        ("z y", (2, 3), None, "must end with 'y x'"),
        ("y x z", (2, 3, 4), None, "moveaxis"),
        ("c y x", (2, 3), None, "3 axes (c y x) are named, the array has 2"),
        ("z z_index y x", (2, 2, 3, 4), None, "a name of its own"),
        ("y x rgb", (8, 9, 5), None, "extent must be 3 or 4"),
        ("y x", (8, 9), True, "must end with 'rgb'"),
        (None, (9,), None, "an image needs y and x"),
        (None, (1,) * 8, None, "name them"),
    ],
)
def test_axes_that_do_not_fit_are_refused_with_what_would(
    axes: str, shape: tuple[int, ...], rgb: bool, sentence: str
) -> None:
    with pytest.raises(ValueError) as caught:
        parse_axes(axes, shape, rgb=rgb)
    assert sentence in str(caught.value)


def test_wells_are_their_labels_and_other_labels_are_names() -> None:
    axes = parse_axes("well channel y x", (2, 2, 8, 9))
    places = coordinates(axes, (2, 2, 8, 9), {"well": ["A01", "B02"], "channel": ["DAPI", "GFP"]}, None)
    assert [places.value("well", index) for index in range(2)] == ["A01", "B02"]
    assert [places.value("channel", index) for index in range(2)] == [0, 1]
    assert places.names == {"channel": {"0": "DAPI", "1": "GFP"}}


def test_values_move_the_names_along() -> None:
    axes = parse_axes("c z y x", (2, 3, 8, 9))
    places = coordinates(axes, (2, 3, 8, 9), {"c": ["DAPI", "GFP"]}, {"c": np.array([1, 2]), "z": range(1, 4)})
    assert [places.value("z_index", index) for index in range(3)] == [1, 2, 3]
    assert places.names == {"channel": {"1": "DAPI", "2": "GFP"}}


@pytest.mark.parametrize(
    ("labels", "values", "sentence"),
    [
        ({"channel": ["DAPI"]}, None, "1 labels are given for 'channel', whose extent is 2"),
        ({"drug": ["a", "b"]}, None, "no axis of the array; its axes are channel"),
        ({"channel": "DAPI"}, None, "a sequence of names"),
        (None, {"channel": [1, 1]}, "must differ"),
        (None, {"channel": [1]}, "1 values are given"),
    ],
)
def test_labels_and_values_that_do_not_fit_are_refused(labels: object, values: object, sentence: str) -> None:
    axes = parse_axes("channel y x", (2, 8, 9))
    with pytest.raises(ValueError) as caught:
        coordinates(axes, (2, 8, 9), labels, values)  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_places_are_numbers_or_text() -> None:
    assert (plain_value(np.int64(3)), plain_value(np.str_("B02")), plain_value(2.5)) == (3, "B02", 2.5)
    for wrong in (None, True, [1], np.zeros(2)):
        with pytest.raises(TypeError):
            plain_value(wrong)
