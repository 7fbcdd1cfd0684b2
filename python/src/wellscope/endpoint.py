"""Where a viewer listens: the addresses that OpenHCS and wellscope compute from a port number.

Both sides must spell them alike, character by character (zmqruntime 0.2.24 tests the path for existence).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import WellscopeError

DEFAULT_PORT = 5555
"""Data port of a viewer (openhcs 0.8.6)."""

CONTROL_PORT_OFFSET = 1000
"""Control port less data port."""

Transport = Literal["ipc", "tcp"]

_LONGEST_IPC_PATH = 107 if sys.platform == "linux" else 103


def default_transport() -> Transport:
    """Unix sockets, except on Windows."""
    return "tcp" if os.name == "nt" else "ipc"


@dataclass(frozen=True)
class Endpoint:
    """Address of one viewer.

    Attributes
    ----------
    port
        Data port; the control port is 1000 higher.
    transport
        ``"ipc"``: Unix sockets of this user on this machine. ``"tcp"``: any machine.
    host
        Host name or address, used by TCP only.
    """

    port: int = DEFAULT_PORT
    transport: Transport = "ipc"
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        highest = 65535 - CONTROL_PORT_OFFSET
        if not isinstance(self.port, int) or not 1 <= self.port <= highest:
            raise ValueError(
                f"port {self.port!r} is out of range: choose one from 1 to {highest}, since port + 1000 is used too"
            )
        if self.transport not in ("ipc", "tcp"):
            raise ValueError(f"transport is 'ipc' or 'tcp', not {self.transport!r}")
        if self.transport == "ipc" and os.name == "nt":
            raise ValueError("Windows has no Unix sockets for ZeroMQ; use transport='tcp'")

    @property
    def control_port(self) -> int:
        """Port of the control socket."""
        return self.port + CONTROL_PORT_OFFSET

    def socket_path(self, port: int) -> Path:
        """The Unix socket of `port`: ``~/.openhcs/ipc/openhcs-zmq-<port>.sock``."""
        return Path.home() / ".openhcs" / "ipc" / f"openhcs-zmq-{port}.sock"

    @property
    def data_url(self) -> str:
        """ZeroMQ address of the data socket."""
        return self._url(self.port)

    @property
    def control_url(self) -> str:
        """ZeroMQ address of the control socket."""
        return self._url(self.control_port)

    @property
    def start_lock(self) -> Path:
        """File that whoever starts a viewer on this port holds locked meanwhile (zmqruntime 0.2.24 has the same)."""
        if self.transport == "ipc":
            return Path(f"{self.socket_path(self.port)}.startup.lock")
        return Path.home() / ".openhcs" / "tcp" / f"{self.port}.startup.lock"

    @property
    def is_on_this_machine(self) -> bool:
        """Whether shared memory reaches the viewer: Unix sockets, or a host that is a name of the loopback."""
        return self.transport == "ipc" or is_loopback(self.host)

    @property
    def connect_timeout(self) -> float:
        """Seconds that a connection may take before we say that nobody is there."""
        return 2.0 if self.is_on_this_machine else 5.0

    def may_be_served(self, port: int) -> bool:
        """False when nobody listens for certain: no such Unix socket, for which ZeroMQ would wait."""
        return self.transport == "tcp" or self.socket_path(port).exists()

    def __str__(self) -> str:
        return f"port {self.port}" if self.transport == "ipc" else f"{self.host}:{self.port}"

    def _url(self, port: int) -> str:
        if self.transport == "tcp":
            host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
            return f"tcp://{host}:{port}"
        path = str(self.socket_path(port))
        size = len(os.fsencode(path))
        if size > _LONGEST_IPC_PATH:
            raise WellscopeError(
                f"the socket path has {size} bytes, the system allows {_LONGEST_IPC_PATH}; use transport='tcp' or a "
                f"shorter home directory. Path: {path}"
            )
        return f"ipc://{path}"


def is_loopback(host: str) -> bool:
    """Whether `host` names this machine's loopback. Names other than ``localhost`` are not looked up."""
    if host in ("localhost", "localhost.localdomain", ""):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def name_of_this_machine() -> str:
    """The host name that other machines of a cluster are likely to know this one by."""
    return socket.gethostname()
