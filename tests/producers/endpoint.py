"""Where a viewer listens, said once for every script here: host, port, transport, and how IPC sockets are named."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from zmqruntime.config import TransportMode, ZMQConfig

#: How each application names its sockets: `~/.<app_name>/ipc/<prefix>-<port>.sock`.
SOCKET_NAMES = {
    "openhcs": ("openhcs", "openhcs-zmq"),
    "polystore": ("polystore", "polystore-zmq"),
    "zmqruntime": ("zmqruntime", "zmq"),
}


@dataclass(frozen=True)
class ViewerEndpoint:
    """One viewer, as its producers and control clients address it."""

    port: int = 5555
    transport: str = "ipc"
    host: str = "localhost"
    socket_names: str = "openhcs"
    #: Port of the ack socket. None: the package's own habit, 7555 for G3 and a private socket for G4.
    ack_port: int | None = None

    @property
    def transport_mode(self) -> TransportMode:
        """The package's own transport mode."""
        return TransportMode(self.transport)

    @property
    def config(self) -> ZMQConfig:
        """The package's own description of ports and socket names."""
        app_name, prefix = SOCKET_NAMES[self.socket_names]
        ack = {} if self.ack_port is None else {"shared_ack_port": self.ack_port}
        return ZMQConfig(app_name=app_name, ipc_socket_prefix=prefix, **ack)


def add_endpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `endpoint_from` reads."""
    parser.add_argument("--port", type=int, default=5555, help="data port; control is this plus 1000 (default 5555)")
    parser.add_argument("--transport", choices=("ipc", "tcp"), default="ipc")
    parser.add_argument("--host", default="localhost", help="TCP only")
    parser.add_argument("--socket-names", choices=tuple(SOCKET_NAMES), default="openhcs", help="IPC only")
    parser.add_argument("--ack-port", type=int, default=None, help="default: as the installed zmqruntime does it")


def endpoint_from(arguments: argparse.Namespace) -> ViewerEndpoint:
    """The endpoint that the command line names."""
    return ViewerEndpoint(
        port=arguments.port,
        transport=arguments.transport,
        host=arguments.host,
        socket_names=arguments.socket_names,
        ack_port=arguments.ack_port,
    )
