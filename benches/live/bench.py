"""Measure the running viewer, against the incumbent where a figure says so, and print a table.

    python bench.py --viewer PATH [--receiver-bench PATH] [--without-incumbent] [--only NAME]... [--write FILE]

scripts/bench runs it with everything in place. The Python that runs it is vs_napari's, with polystore 0.2.19,
zmqruntime 0.2.24 and OpenHCS 0.8.6; without the incumbent that of tests/producers/requirements-g3.txt will do.

A home directory and a display of its own are made first, so that neither settings nor sockets of the user are touched.
Every viewer is ended before the next figure begins, also after Ctrl-C.

Output: the raw numbers of each figure as they come, one JSON line per figure, then the table. Exit status: 0 all bars
hold, 1 a bar does not hold or a figure is not available, 2 a figure could not be measured.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent / "vs_napari"), str(HERE.parent.parent / "tests" / "producers")]


def own_home(folder: str) -> None:
    """Before anything asks where the home is: sockets of both viewers lie below it, and their settings."""
    os.environ["HOME"] = folder
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "PYTHONPATH", "WAYLAND_DISPLAY"):
        os.environ.pop(variable, None)
    os.environ["XDG_RUNTIME_DIR"] = folder


def parsed_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewer", type=Path, required=True, help="the wellscope binary")
    parser.add_argument("--receiver-bench", type=Path, help="the wellscope-benches binary")
    parser.add_argument("--without-incumbent", action="store_true", help="measure ours only")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="one figure (may be repeated)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to FILE too")
    return parser.parse_args()


def run(arguments: argparse.Namespace, home: Path) -> int:
    """Measure and print; the exit status."""
    import machine
    import report
    from figure import Figure
    from figures import FIGURES
    from setting import Bench

    if unknown := [name for name in arguments.only if name not in FIGURES]:
        raise SystemExit(f"there is no figure {unknown}; needed: {', '.join(FIGURES)}")
    bench = Bench(
        home=home,
        binary=arguments.viewer.absolute(),
        receiver_bench=arguments.receiver_bench,
        with_incumbent=not arguments.without_incumbent,
    )
    measured: list[Figure] = []
    failures: list[str] = []
    for name in arguments.only or FIGURES:
        print(f"\n-- {name} (load of the machine {machine.load()})", flush=True)
        try:
            found = FIGURES[name](bench)
        except Exception as error:  # the other figures are still worth having; this one is told and fails the run
            traceback.print_exc()
            failures.append(f"{name}: {type(error).__name__}: {error}")
            continue
        for figure in found:
            print(report.json_line(figure), flush=True)
        measured += found
    facts = machine.describe(bench.binary) | {"load at the end": machine.load()}
    print("\n" + report.table(measured, failures))
    if arguments.write is not None:
        write(arguments.write, report.page(measured, failures, facts), complete=not arguments.only)
    if failures:
        return 2
    return 0 if all(figure.holds for figure in measured) else 1


def write(file: Path, page: str, *, complete: bool) -> None:
    """Write RESULTS.md, of complete runs only."""
    if not complete:
        raise SystemExit("--write takes a complete run, without --only")
    file.write_text(page)
    print(f"\nwritten to {file}")


ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(signum: int, _frame: object) -> None:
    """End the run through the ends of all `with` blocks; a second signal must not cut that short."""
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt(f"signal {signum}")


def main() -> int:
    """Run the bench in a home of its own."""
    arguments = parsed_arguments()
    for ending in ENDINGS:
        signal.signal(ending, interrupted)
    # Short: a Unix socket's path has 107 characters at most. Viewers may still be writing there when they are killed.
    with tempfile.TemporaryDirectory(prefix="wsb", ignore_cleanup_errors=True) as home:
        own_home(home)
        from display import Display

        display = Display()
        os.environ["DISPLAY"] = display.name
        try:
            return run(arguments, Path(home))
        except KeyboardInterrupt:
            print("\ninterrupted; every viewer was ended", file=sys.stderr)
            return 130
        finally:
            display.close()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # zmqruntime's ack listener is a thread that would hold up the end of the process.
    os._exit(status)
