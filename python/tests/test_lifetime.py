"""Viewers are started, shared, closed; and what is said when one cannot be."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq
from conftest import StartViewer, free_tcp_port
from stand_in import StandInViewer

import wellscope
from wellscope import launch
from wellscope.channel import DataChannel
from wellscope.control import ControlClient
from wellscope.endpoint import Endpoint

_HELLO = """
import sys, wellscope
viewer = wellscope.Viewer(int(sys.argv[1]), start_timeout=60)
print(viewer._control.request("ping")["process_identity"]["pid"], viewer._process is not None)
"""


def _pid(viewer: wellscope.Viewer) -> int:
    return int(viewer._control.request("ping")["process_identity"]["pid"])


def _is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # A child of ours that ended and was not waited for.
        with contextlib.suppress(OSError):
            if _state(Path(f"/proc/{pid}")) == "Z":
                return True
        time.sleep(0.02)
    return False


def _state(process: Path) -> str:
    """R, S, T (stopped), Z, ... of a process or thread in /proc."""
    return (process / "stat").read_text().rpartition(")")[2].split()[0]


def test_a_running_viewer_is_reused(start_viewer: StartViewer, port: int) -> None:
    first = start_viewer(port)
    second = wellscope.Viewer(port)
    assert _pid(first) == _pid(second) and second._process is None and first._process is not None
    log = launch.log_path(port)
    assert log == Path.home() / ".local/share/openhcs/logs" / f"napari_detached_port_{port}.log"
    assert log.read_text().count(" listening ") == 1
    assert first._control.request("ping")["log_file_path"] == str(log)


def test_processes_that_start_at_once_share_one_viewer(start_viewer: StartViewer, port: int) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", _HELLO, str(port)], stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(5)
    ]
    said = [child.communicate(timeout=90)[0].split() for child in children]
    viewer = start_viewer(port, start=False)
    assert {pid for pid, _ in said} == {str(_pid(viewer))}
    assert sorted(started for _, started in said) == ["False"] * 4 + ["True"]


def test_a_persistent_viewer_outlives_its_process_and_another_does_not(start_viewer: StartViewer, port: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HELLO, str(port)], capture_output=True, text=True, check=True, env=os.environ
    )
    viewer = start_viewer(port, start=False)
    assert done.stdout.split()[0] == str(_pid(viewer))
    script = _HELLO.replace("start_timeout=60", "start_timeout=60, persistent=False")
    pid = int(
        subprocess.run(
            [sys.executable, "-c", script, str(port + 2000)], capture_output=True, text=True, check=True, env=os.environ
        ).stdout.split()[0]
    )
    assert _is_gone(pid)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_may_use_the_viewer_and_disturbs_nothing(
    start_viewer: StartViewer, made_segments: list[str]
) -> None:
    viewer = start_viewer()
    viewer.add_image(np.zeros((200, 200), np.uint8), name="parent")
    child = os.fork()
    if child == 0:
        try:
            viewer.add_image(np.ones((200, 200), np.uint8), name="child")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    viewer.add_image(np.zeros((200, 200), np.uint8), name="parent again")
    assert viewer.layers.names == ["parent", "child", "parent again"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_viewer_that_is_not_persistent_ends_with_a_killed_process(port: int) -> None:
    script = _HELLO.replace("start_timeout=60", "start_timeout=60, persistent=False")
    # Made in a thread that ends before the process does.
    script = "import threading, time\ndef make():" + script.replace("\n", "\n    ")
    script += "\nthread = threading.Thread(target=make); thread.start(); thread.join()\n"
    script += "print('done', flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(port)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[0])
        assert process.stdout.readline() == "done\n"
        viewer = wellscope.Viewer(port, start=False)
        assert viewer.is_alive and _pid(viewer) == pid
    finally:
        process.kill()
        process.communicate()
    is_gone = _is_gone(pid)
    if not is_gone:
        os.kill(pid, signal.SIGKILL)
    assert is_gone
    assert not (Path.home() / f".openhcs/ipc/openhcs-zmq-{port}.sock").exists()


def test_leaving_a_viewer_behind_is_no_reason_for_a_warning(start_viewer: StartViewer, port: int) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", _HELLO, str(port)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    start_viewer(port, start=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_with_leaves_a_persistent_viewer_and_closes_another(start_viewer: StartViewer, port: int) -> None:
    with start_viewer(port) as kept:
        pass
    assert kept.is_alive
    with start_viewer(port + 2000, persistent=False) as closed:
        pid = _pid(closed)
    assert _is_gone(pid) and not closed.is_alive


def test_close_ends_the_viewer_for_everybody(start_viewer: StartViewer, port: int) -> None:
    viewer = start_viewer(port)
    other = wellscope.Viewer(port)
    pid = _pid(viewer)
    other.close()
    assert _is_gone(pid)
    with pytest.raises(wellscope.ViewerNotFound):
        viewer.add_image(np.zeros((4, 4)))
    other.close()
    assert not (Path.home() / f".openhcs/ipc/openhcs-zmq-{port}.sock").exists()


def test_a_killed_viewer_is_an_error_soon_and_nothing_stays_in_shared_memory(
    start_viewer: StartViewer, port: int, made_segments: list[str]
) -> None:
    viewer = start_viewer(port)
    viewer.add_image(np.zeros((200, 200)), name="before")
    os.kill(_pid(viewer), signal.SIGKILL)
    with pytest.raises(wellscope.ViewerNotFound, match=f"port {port}"):
        viewer.add_image(np.zeros((3, 200, 200)), name="after")
    assert made_segments
    # Started anew over the stale sockets, the same handle works again.
    start_viewer(port)
    viewer.add_image(np.zeros((200, 200)), name="again")
    assert viewer.layers.names == ["again"]


def test_a_viewer_that_hangs_is_told_from_one_that_is_slow(start_viewer: StartViewer, made_segments: list[str]) -> None:
    viewer = start_viewer()
    viewer.add_image(np.zeros((200, 200)))
    pid = _pid(viewer)
    os.kill(pid, signal.SIGSTOP)
    while any(_state(task) != "T" for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.01)
    try:
        with pytest.raises(wellscope.ViewerNotFound, match="does not answer any more"):
            viewer.add_image(np.zeros((200, 200)))
        with pytest.raises(wellscope.ViewerNotFound, match="it was closed, or it hangs"):
            viewer.add_image(np.zeros((200, 200)))
    finally:
        os.kill(pid, signal.SIGCONT)
    viewer.add_image(np.zeros((200, 200)), name="afterwards")
    assert "afterwards" in viewer.layers


def test_a_viewer_that_cannot_start_says_why(port: int) -> None:
    with pytest.raises(wellscope.ViewerStartError) as caught:
        wellscope.Viewer(port, arguments=["--no-such-option"])
    assert "did not understand its command line" in str(caught.value) and "--no-such-option" in str(caught.value)


def test_a_window_without_a_display_says_what_to_do(port: int) -> None:
    with pytest.raises(wellscope.ViewerStartError, match="no display to open a window on; use headless=True"):
        wellscope.Viewer(port, headless=False)


def test_nobody_there_says_what_to_do(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(wellscope.ViewerNotFound, match=f"wellscope --port {port}"):
        wellscope.Viewer(port, start=False)
    tcp_port = free_tcp_port()
    with pytest.raises(wellscope.ViewerNotFound, match="--transport tcp"):
        wellscope.Viewer(tcp_port, host="127.0.0.1", start=False)
    with pytest.raises(ValueError, match="is reached by TCP"):
        wellscope.Viewer(port, host="node7", transport="ipc")
    monkeypatch.setenv("WELLSCOPE_VIEWER", "/nowhere/wellscope")
    with pytest.raises(wellscope.ViewerNotFound, match="WELLSCOPE_VIEWER"):
        wellscope.Viewer(port)


def test_a_tcp_viewer_is_started_and_reached(start_viewer: StartViewer) -> None:
    viewer = start_viewer(free_tcp_port(), transport="tcp")
    viewer.add_image(np.arange(12, dtype=np.uint8).reshape(3, 4), name="by tcp")
    assert viewer.layers.names == ["by tcp"]
    assert viewer.address.startswith("127.0.0.1:")


_BATCH = json.dumps({"type": "batch", "images": []}).encode()


def _error_of(call: Callable[[], object]) -> BaseException | None:
    """What `call` raises. It has a thread, so that a call without end is a failure here and not a run without end."""
    said: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            said.append(error)

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(30)
    assert not running.is_alive()
    return said[0] if said else None


def _wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _channel_to_one_that_went(port: int) -> DataChannel:
    channel = DataChannel(Endpoint(port, "tcp"), timeout=600.0)
    with StandInViewer(port):
        channel.send(_BATCH, [], [])
        channel.drain()
        socket = channel._connected()
    _wait_until(lambda: not socket.poll(0, zmq.POLLOUT))
    return channel


def test_a_viewer_that_went_between_two_batches_is_an_error_soon() -> None:
    port = free_tcp_port()
    channel = _channel_to_one_that_went(port)
    error = _error_of(lambda: channel.send(_BATCH, [], []))
    assert isinstance(error, wellscope.ViewerNotFound) and str(port) in str(error)


def test_a_batch_waits_for_a_viewer_that_comes_back() -> None:
    port = free_tcp_port()
    channel = _channel_to_one_that_went(port)
    with StandInViewer(port) as another:
        channel.send(_BATCH, [], [])
        channel.drain()
        assert len(another.batches) == 1
    channel.close()


def test_batches_that_a_viewer_took_along_are_told_though_another_is_there() -> None:
    port = free_tcp_port()
    channel = DataChannel(Endpoint(port, "tcp"), timeout=600.0)
    with StandInViewer(port, answers=False) as gone:
        channel.send(_BATCH, [], [])
        _wait_until(lambda: gone.batches)
    with StandInViewer(port) as another:
        error = _error_of(channel.drain)
        assert isinstance(error, wellscope.ViewerNotFound) and "before it had confirmed" in str(error)
        # The next ones reach the one that is there.
        channel.send(_BATCH, [], [])
        channel.drain()
        assert len(another.batches) == 1
    channel.close()


def test_a_viewer_that_goes_just_before_a_question_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ControlClient(Endpoint(free_tcp_port(), "tcp"))
    # It was there when it was looked for, and nobody is there when the question is sent.
    monkeypatch.setattr(zmq.Socket, "poll", lambda *_: zmq.POLLOUT)
    error = _error_of(lambda: client.call("state"))
    assert isinstance(error, wellscope.ViewerNotFound) and str(client.endpoint.port) in str(error)
