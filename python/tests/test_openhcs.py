"""The OpenHCS adapter as the wheel installs it, with packages that look like OpenHCS where the real one is not needed.

Real pipelines are run by tests/tests/openhcs_pipeline.rs.
"""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

try:
    _distribution = importlib.metadata.distribution("wellscope")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("the package is not installed, only on the path", allow_module_level=True)

VISUALIZER = """
try:
    import napari
except ImportError:
    raise ImportError("napari is required")
class NapariStreamVisualizer:
    pass
"""


def _python(code: str, *, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    names = ("WELLSCOPE_OPENHCS", "WELLSCOPE_OPENHCS_OPTIONS", "_WELLSCOPE_OPENHCS_WARNED", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    if path is not None:
        kept["PYTHONPATH"] = str(path)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**kept, **environment})


def _openhcs(folder: Path, version: str) -> Path:
    """A package that launches viewers in no way that is known."""
    runtime = folder / "openhcs" / "runtime"
    runtime.mkdir(parents=True)
    (folder / "openhcs" / "__init__.py").write_text(f"__version__ = {version!r}\n")
    (runtime / "__init__.py").touch()
    (runtime / "napari_stream_visualizer.py").write_text(VISUALIZER)
    return folder


IMPORT = "import openhcs.runtime.napari_stream_visualizer as module; print(module.napari.__name__)"


def test_python_starts_with_one_small_module_more() -> None:
    found = _python("import sys; print(*sorted(sys.modules))").stdout.split()
    assert "_wellscope_openhcs" in found
    assert not {"wellscope", "numpy", "zmq", "openhcs", "napari", "logging"} & set(found)
    bare = subprocess.run(
        [sys.executable, "-S", "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert "_wellscope_openhcs" not in bare.stdout.split()


def test_other_imports_are_found_as_before() -> None:
    ran = _python("import json, wave; print(wave.__spec__.loader.__class__.__name__)")
    assert ran.stdout.strip() == "SourceFileLoader"
    assert "No module named 'napari'" in _python("import napari").stderr


@pytest.mark.parametrize("version", ["0.8.5", "0.9.0", "1.0"])
def test_a_version_that_is_not_known_is_warned_of_once_and_keeps_its_viewer(tmp_path: Path, version: str) -> None:
    folder = _openhcs(tmp_path, version)
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {IMPORT!r}])"
    ran = _python(f"try:\n {IMPORT}\nexcept ImportError as error: print(error)\n{child}", path=folder)
    assert ran.stdout == "napari is required\n"
    assert ran.stderr.count(f"OpenHCS {version} is not known to wellscope") == 1, ran.stderr
    (folder / "napari.py").touch()
    assert _python(IMPORT, path=folder).stdout == "napari\n"


def test_a_known_version_that_launches_otherwise_is_warned_of_and_keeps_its_viewer(tmp_path: Path) -> None:
    folder = _openhcs(tmp_path, "0.8.6")
    ran = _python(IMPORT, path=folder)
    assert "wellscope cannot be launched by this OpenHCS" in ran.stderr
    assert "ImportError: napari is not installed" in ran.stderr
    (folder / "napari.py").touch()
    ran = _python(IMPORT, path=folder)
    assert ran.stdout == "napari\n"
    assert "wellscope cannot be launched by this OpenHCS" in ran.stderr


@pytest.mark.parametrize("value", ["0", "off", "No", " false "])
def test_the_switch_hides_the_adapter(tmp_path: Path, value: str) -> None:
    ran = _python(IMPORT, path=_openhcs(tmp_path, "0.9.0"), WELLSCOPE_OPENHCS=value)
    assert ran.stderr.splitlines()[-1] == "ImportError: napari is required"
    assert "wellscope" not in ran.stderr


def test_the_report_says_what_keeps_openhcs_from_launching_wellscope() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "wellscope.openhcs"],
        capture_output=True,
        text=True,
        env={**os.environ, "WELLSCOPE_OPENHCS": "0", "WELLSCOPE_VIEWER": "no-such-program"},
    )
    assert ran.returncode == 1
    assert "! WELLSCOPE_OPENHCS=0 switches wellscope off" in ran.stdout
    assert "! OpenHCS is not installed in this Python" in ran.stdout
    assert "! WELLSCOPE_VIEWER names no program that can be run: no-such-program" in ran.stdout
    assert ran.stdout.endswith("OpenHCS does not launch wellscope here.\n")
    assert "read at start of Python" in ran.stdout


def test_the_adapter_is_in_the_wheel() -> None:
    files = {Path(str(file)).as_posix() for file in _distribution.files or ()}
    assert {"wellscope/openhcs/hook.py", "_wellscope_openhcs.py", "wellscope_openhcs.pth"} <= files
