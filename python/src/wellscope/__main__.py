"""``python -m wellscope``: the viewer itself, as the command ``wellscope``."""

import os
import subprocess
import sys

from .launch import find_viewer


def main() -> int:
    """Runs the viewer's program in place of this process, where the system can."""
    command = [find_viewer(), *sys.argv[1:]]
    if os.name == "nt":
        return subprocess.call(command)
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
