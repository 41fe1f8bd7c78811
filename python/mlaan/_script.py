"""The console script `mlaan`, and the same from a program."""
from __future__ import annotations

import sys
from collections.abc import Sequence

from . import _core


def main() -> None:
    """The command line: ends the process with the command's status."""
    import signal
    # The command catches Ctrl-C itself where there is something to save; elsewhere it ends the process, as that of any program.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_core.main(["mlaan", *sys.argv[1:]]))


def command(args: Sequence[str]) -> int:
    """Does what the command line `mlaan ARGS` does, in this process: prints to its standard output, not to `sys.stdout`. Returns its exit
    status. In a notebook prefer the functions of this package."""
    return _core.main(["mlaan", *args])
