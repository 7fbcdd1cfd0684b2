"""What the machine is, and what a process on it uses: memory, CPU time. Linux only, read from /proc."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class Memory:
    """Memory of one process in bytes, from /proc/PID/smaps_rollup."""

    #: Pages in RAM, those shared with other processes (libraries) in full.
    resident: int
    #: As `resident`, with shared pages divided by the number of processes that share them.
    proportional: int
    #: Pages that belong to no file: what the process has allocated and written.
    anonymous: int

    def __str__(self) -> str:
        parts = (("RSS", self.resident), ("PSS", self.proportional), ("anonymous", self.anonymous))
        return ", ".join(f"{name} {size / MIB:.1f} MiB" for name, size in parts)


def memory_of(pid: int) -> Memory:
    """What a process holds now."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", rollup, re.MULTILINE)}
    return Memory(sizes["Rss"], sizes["Pss"], sizes["Anonymous"])


def cpu_seconds_of(pid: int) -> float:
    """CPU time of all living threads of a process in seconds, to the nanosecond (/proc/PID/task/TID/schedstat).

    A thread that ends takes its time with it, so compare only while the same threads live.
    """
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e9


def cpu_ticks_of(pid: int) -> float:
    """CPU time of a process in seconds, ended threads too, in clock ticks (fields 14 and 15 of /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load() -> str:
    """How busy the machine was in the last minute, for a reader who wonders about a figure."""
    return f"{os.getloadavg()[0]:.1f}"


def describe(viewer: Path) -> dict[str, str]:
    """Cores, memory, graphics, kernel, date and commit. No names of hosts or people."""
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    info = subprocess.run([viewer, "--info"], capture_output=True, text=True, check=True).stdout
    chosen = re.search(r"^adapter \d+: (.+?)\s+<- chosen$", info, re.MULTILINE)
    return {
        "processor": processor.group(1) if processor else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory.group(1)) / 1024**2:.1f} GiB" if memory else "unknown",
        "graphics": chosen.group(1) if chosen else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
    }


def commit() -> str:
    """The commit that is checked out, and whether the files differ from it."""
    root = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed
