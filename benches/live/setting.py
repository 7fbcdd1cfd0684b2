"""Where figures get their viewers and their images from."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream import Address, plane
from viewers import Viewer, Wellscope

if TYPE_CHECKING:
    from incumbent import Incumbent

#: The batch that the incumbent was measured with: 8 images of 2048 x 2048 uint16, 64 MiB.
LARGE_SIDE, LARGE_PLANES = 2048, 8
LARGE_BYTES = LARGE_SIDE * LARGE_SIDE * 2 * LARGE_PLANES
#: How long a viewer is left alone before it counts as idle.
IDLE_SETTLE_SECONDS = 3.0


class Bench:
    """Where figures get their viewers from."""

    def __init__(self, *, home: Path, binary: Path, receiver_bench: Path | None, with_incumbent: bool) -> None:
        self.home = home
        self.binary = binary
        self.receiver_bench = receiver_bench
        self.with_incumbent = with_incumbent
        self._ports = itertools.count(5655)
        self._help = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout

    def has_option(self, option: str) -> bool:
        """Whether our viewer knows an option."""
        return f"{option} " in self._help or f"{option}\n" in self._help

    def has_command(self, command: str) -> bool:
        """Whether our program knows a command beside the viewer."""
        return any(line.split()[:1] == [command] for line in self._help.splitlines())

    def free_port(self) -> int:
        """A port that no other viewer of this run has."""
        return next(self._ports)

    def ours(self, *arguments: str) -> Wellscope:
        """Our viewer, on screen."""
        return Wellscope(self.binary, home=self.home, port=next(self._ports), arguments=arguments)

    def theirs(self, *, with_hook: bool = False) -> Incumbent:
        """The incumbent, on screen."""
        # Imported late: it needs the environment of vs_napari, which a run without the incumbent has not.
        from incumbent import Incumbent

        return Incumbent(home=self.home, port=next(self._ports), with_hook=with_hook)

    def both(self) -> Iterator[Callable[[], Viewer]]:
        """What starts each viewer, the incumbent first."""
        if self.with_incumbent:
            yield self.theirs
        yield self.ours


def large_batch(first_site: int) -> list[tuple[Address, Any]]:
    """8 planes, sites counting up."""
    sites = range(first_site, first_site + LARGE_PLANES)
    return [(Address(site), plane(LARGE_SIDE, site)) for site in sites]
