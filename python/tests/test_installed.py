"""What installing the wheel leaves behind."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import wellscope

try:
    _distribution = importlib.metadata.distribution("wellscope")
except importlib.metadata.PackageNotFoundError:
    pytest.skip("the package is not installed, only on the path", allow_module_level=True)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout.strip()


def test_the_command_is_beside_python_and_is_the_one_that_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WELLSCOPE_VIEWER", raising=False)
    command = Path(sysconfig.get_path("scripts")) / ("wellscope.exe" if os.name == "nt" else "wellscope")
    assert wellscope.find_viewer() == str(command)
    expected = f"wellscope {wellscope.__version__}"
    assert _run(str(command), "--version") == expected
    assert _run(sys.executable, "-m", "wellscope", "--version") == expected


def test_only_numpy_and_pyzmq_are_needed() -> None:
    assert sorted(requirement.split(">")[0] for requirement in _distribution.requires or ()) == ["numpy", "pyzmq"]


def test_types_licences_and_the_hook_of_the_adapter_are_installed() -> None:
    files = {Path(str(file)).as_posix() for file in _distribution.files or ()}
    licenses = {file.rpartition("/")[2] for file in files if "/licenses/" in file}
    assert licenses == {"LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.md"}
    assert {"wellscope/py.typed", "wellscope/__init__.py", "wellscope_openhcs.pth"} <= files
    # Python reads it only when it lies in site-packages itself.
    assert Path(sysconfig.get_path("purelib"), "wellscope_openhcs.pth").is_file()
