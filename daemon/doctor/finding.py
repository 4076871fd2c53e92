"""What the doctor found: one thing, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How a thing is; the value is its word in the output."""

    GOOD = "ok"
    WARNING = "warning"
    """It works, or will, but not for all or not for long."""
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """Which check: `ports`, `clock`."""
    state: State
    message: str
    advice: str = ""
    """What to do, where something is to be done."""


def good(check: str, message: str, advice: str = "") -> Finding:
    """Return a finding that is well."""
    return Finding(check, State.GOOD, message, advice)


def warning(check: str, message: str, advice: str) -> Finding:
    """Return a finding that will be a fault for somebody."""
    return Finding(check, State.WARNING, message, advice)


def fault(check: str, message: str, advice: str) -> Finding:
    """Return a finding that keeps Roost from serving."""
    return Finding(check, State.FAULT, message, advice)
