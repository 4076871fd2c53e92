"""`python -m daemon` is `roost`; without a command it is `roost run`."""

from __future__ import annotations

import sys

from daemon.cli import main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].startswith("--config"):
        arguments = ["run", *arguments]
    main(arguments, prog_name="roost")
