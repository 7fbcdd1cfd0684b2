"""Finding, starting and stopping the viewer's program.

The rules are those of wellscope's Rust client and of OpenHCS 0.8.6, so that all three share viewers: the same port, the
same lock while starting, the same log file.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import queue
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .control import ControlClient
from .endpoint import Endpoint
from .errors import ViewerNotFound, ViewerStartError, WellscopeError

START_TIMEOUT = 30.0
"""Seconds from the start of the program to its first answer."""

_EXIT_CODES = {
    1: "it failed",
    2: "it did not understand its command line",
    3: "it found no GPU and no software renderer (on Debian: apt install mesa-vulkan-drivers)",
    4: "there is no display to open a window on; use headless=True",
    5: "another program serves the port; choose another port",
    6: "its endpoints could not be opened",
}


@dataclass(frozen=True)
class LaunchOptions:
    """How a viewer is started when none is there.

    Attributes
    ----------
    persistent
        The viewer stays when this process ends.
    headless
        Draw without a window. None: only where there is no display.
    title
        Of the window.
    bind
        Address that a TCP viewer listens on.
    arguments
        Further options of the program, e.g. ``["--memory-limit", "8GiB"]``.
    timeout
        Seconds until it must serve.
    """

    persistent: bool = True
    headless: bool | None = None
    title: str = "wellscope"
    bind: str = "127.0.0.1"
    arguments: Sequence[str] = ()
    timeout: float = START_TIMEOUT


def find_viewer() -> str:
    """Path of the viewer's program: ``$WELLSCOPE_VIEWER``, else the one that came with this package, else on the PATH.

    Raises
    ------
    ViewerNotFound
        When there is none.
    """
    named = os.environ.get("WELLSCOPE_VIEWER")
    if named:
        if shutil.which(named) is None:
            raise ViewerNotFound(f"WELLSCOPE_VIEWER names no program that can be run: {named}")
        return named
    for candidate in _installed():
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return str(candidate)
    on_path = shutil.which("wellscope")
    if on_path is None:
        raise ViewerNotFound(
            "the program `wellscope` was found neither beside this Python nor on the PATH; install the wheel "
            "(pip install wellscope), or name the program in the environment variable WELLSCOPE_VIEWER"
        )
    return on_path


def _installed() -> Iterator[Path]:
    """Places where installing the wheel puts the program."""
    name = "wellscope.exe" if os.name == "nt" else "wellscope"
    yield Path(sysconfig.get_path("scripts")) / name
    # Wheels installed with --user, --target or --prefix have it elsewhere; their record tells.
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("wellscope") or ():
            if file.name == name:
                yield Path(str(file.locate())).resolve()


def has_display() -> bool:
    """Whether a window can be opened: always on Windows and macOS, elsewhere when X or Wayland are there."""
    if os.name == "nt" or sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def log_path(port: int) -> Path:
    """Where a started viewer's output goes; OpenHCS looks there, too (openhcs 0.8.6)."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "openhcs" / "logs" / f"napari_detached_port_{port}.log"


@dataclass
class RunningViewer:
    """A viewer that serves, and its process when we started it."""

    pong: dict[str, Any]
    process: subprocess.Popen[bytes] | None


def ensure_viewer(endpoint: Endpoint, options: LaunchOptions) -> RunningViewer:
    """Reuses the viewer that serves `endpoint`, or starts one there. Of several who ask at once, one starts it.

    Raises
    ------
    ViewerStartError
        With what the program said.
    ViewerNotFound
        When there is no program to start, or the address is another machine's.
    """
    control = ControlClient(endpoint)
    pong = ready_pong(control)
    if pong is not None:
        return RunningViewer(pong, None)
    if not endpoint.is_on_this_machine:
        raise ViewerNotFound(
            f"no viewer listens at {endpoint}, and viewers cannot be started on another machine; run there: "
            f"wellscope --transport tcp --bind 0.0.0.0 --port {endpoint.port}"
        )
    deadline = time.monotonic() + options.timeout
    with _start_lock(endpoint, deadline):
        # Whoever held the lock before us may have started it.
        pong = ready_pong(control)
        if pong is not None:
            return RunningViewer(pong, None)
        return _start(endpoint, options, control, deadline)


def ready_pong(control: ControlClient) -> dict[str, Any] | None:
    """The answer to a ping of a viewer that takes images, or None."""
    pong = control.ping()
    return pong if pong is not None and pong.get("ready") else None


def _start(endpoint: Endpoint, options: LaunchOptions, control: ControlClient, deadline: float) -> RunningViewer:
    for ended in [program for program in _started if program.poll() is not None]:
        _started.remove(ended)
    log = log_path(endpoint.port)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = _command(endpoint, options, log)
    process = _spawn(command, log, options)
    while True:
        code = process.poll()
        if code is not None:
            raise ViewerStartError(_why_it_ended(code, log))
        pong = ready_pong(control)
        if pong is not None:
            _started.append(process)
            return RunningViewer(pong, process)
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ViewerStartError(
                f"the viewer did not serve within {options.timeout:g} s. Its log ({log}) ends with:\n{_tail(log)}"
            )
        time.sleep(0.02)


class _Program(subprocess.Popen[bytes]):
    """A program that may outlive this process: that it still runs in the end is no reason for a warning."""

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.poll()


_started: list[_Program] = []
"""Viewers of this process, so that one that was closed does not stay a zombie when its handle is gone."""


def _command(endpoint: Endpoint, options: LaunchOptions, log: Path) -> list[str]:
    headless = not has_display() if options.headless is None else options.headless
    command = [find_viewer(), "--port", str(endpoint.port), "--transport", endpoint.transport, "--title", options.title]
    command += ["--log-file", str(log)]
    if endpoint.transport == "tcp":
        command += ["--bind", options.bind]
    if headless:
        command.append("--headless")
    return [*command, *options.arguments]


def _spawn(command: list[str], log: Path, options: LaunchOptions) -> _Program:
    detached: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        detached = {"creationflags": flags}
    log.write_bytes(b"")

    def run(words: list[str]) -> _Program:
        # The viewer appends its log there by itself; what drivers and panics print comes by these.
        with open(log, "ab") as output:
            return _Program(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output, **detached)

    try:
        if options.persistent or sys.platform != "linux":
            return run(command)
        return _run_tied(run, [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command])
    except OSError as error:
        raise ViewerStartError(f"the viewer's program cannot be run: {error}. Program: {command[0]}") from error


_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel for SIGTERM when the parent dies, however it dies (PR_SET_PDEATHSIG, kept by exec), and becomes the
viewer; unless the parent is gone already. Elsewhere than on Linux a killed parent leaves its viewer behind."""


def _run_tied(run: Callable[[list[str]], _Program], command: list[str]) -> _Program:
    """For the kernel the parent is a thread: the one that starts the program waits for its end, so that it never dies
    before."""
    answer: queue.SimpleQueue[_Program | OSError] = queue.SimpleQueue()

    def launch() -> None:
        try:
            program = run(command)
        except OSError as error:
            answer.put(error)
            return
        answer.put(program)
        program.wait()

    threading.Thread(target=launch, name="wellscope-launcher", daemon=True).start()
    outcome = answer.get()
    if isinstance(outcome, OSError):
        raise outcome
    return outcome


def _why_it_ended(code: int, log: Path) -> str:
    reason = _EXIT_CODES.get(code, f"it ended with code {code}") if code >= 0 else f"signal {-code} ended it"
    return f"the viewer ended before it served: {reason}. Its log ({log}) ends with:\n{_tail(log)}"


def _tail(log: Path, *, lines: int = 12) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(the log cannot be read: {error})"


@contextlib.contextmanager
def _start_lock(endpoint: Endpoint, deadline: float) -> Iterator[None]:
    path = endpoint.start_lock
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path, "a+b") as file:
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise ViewerStartError(
                    f"another process has been starting a viewer at {endpoint} for too long. Lock: {path}"
                )
            time.sleep(0.02)
        # Closing the file gives the lock back; the file stays, since removing it could give two owners to one name.
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def stop_viewer(control: ControlClient, process: subprocess.Popen[bytes] | None, *, timeout: float = 10.0) -> None:
    """Asks the viewer to close and waits until nobody serves; ends our own child by force when it hangs."""
    try:
        control.request("shutdown", timeout=2.0)
    except WellscopeError:
        if process is None:
            raise
    deadline = time.monotonic() + timeout
    if process is not None:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return
    while control.ping(timeout=0.2) is not None:
        if time.monotonic() > deadline:
            raise WellscopeError(
                f"the viewer at {control.endpoint} said that it closes and still answers after {timeout:g} s"
            )
        time.sleep(0.02)
