"""Coverage-guided fuzzing of all that takes bytes from the network: `make fuzz`, or this with libFuzzer's options."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris
import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the tests import from each other

with atheris.instrument_imports(
    include=["sip", "daemon.dispatch", "daemon.registration", "daemon.presence", "daemon.calls"]
):
    from judged_input import Judge


def main() -> None:
    """Run until something fails, or an option says that it is enough."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    atheris.Setup(sys.argv, Judge())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
