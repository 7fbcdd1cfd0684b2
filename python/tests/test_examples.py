"""The examples as a new user runs them."""

import runpy
from pathlib import Path

import pytest
from conftest import StartViewer

_EXAMPLES = Path(__file__).parent.parent / "examples"


def test_every_example_is_tried_by_a_test() -> None:
    assert sorted(path.name for path in _EXAMPLES.glob("*.py")) == ["dask_blocks.py", "first_steps.py"]


def test_first_steps_show_what_they_say(start_viewer: StartViewer, capsys: pytest.CaptureFixture[str]) -> None:
    # The example uses the usual port, which is free in a home of our own.
    viewer = start_viewer(5555)
    made = runpy.run_path(str(_EXAMPLES / "first_steps.py"))
    assert made["picture"].shape[2] in (3, 4) and made["picture"].std() > 1
    assert viewer.layers.names == ["plate", "smooth", "nuclei", "brightest points", "DAPI", "GFP", "camera"]
    assert viewer.layers["plate"].contrast_limits == (200.0, 4000.0)
    state = viewer.state()
    assert state["wellscope"]["overlay"] == "T 4" and state["wellscope"]["problems"] == []
    assert [layer["title"] for layer in state["layers"] if layer["visible"]] == ["camera"]
    assert "camera" in capsys.readouterr().out


def test_examples_are_cells_of_a_notebook() -> None:
    for path in _EXAMPLES.glob("*.py"):
        text = path.read_text()
        assert text.startswith("# %% [markdown]\n") and text.count("\n# %%\n") >= 2
        compile(text, str(path), "exec")
