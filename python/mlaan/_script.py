"""The console script `mlaan`, and `python -m mlaan`."""
from __future__ import annotations

import sys

from . import _core, _cuda


def main() -> None:
    """The command line: ends the process with the command's status."""
    import signal
    # The command catches Ctrl-C itself where there is something to save; elsewhere it ends the process, as that of any program.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _cuda.find(sys.argv)
    sys.exit(_core.main(["mlaan", *sys.argv[1:]]))
