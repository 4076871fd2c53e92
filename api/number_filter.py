"""What `number_filter` makes of a dialled number (contract 5.10).

The expression is a client's, so everything that could make it dear is limited: its length, what its repeats multiply
to, and the time it may search, off the event loop.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

import regex

from api.errors import ValidationFailed

MAX_PATTERN: Final = 128  # characters
MAX_REPEATS: Final = 10_000  # the product of all counted repeats: compiling unrolls them
MAX_SECONDS: Final = 0.05
SEPARATORS: Final = str.maketrans("", "", " ,.-()")
REPEAT: Final = re.compile(r"\{(\d*),?(\d*)\}")


async def filter_number(number: str, rule: str) -> str:
    """Return the number as it is shown: without separators, unchanged, or what an expression finds."""
    if rule == "true":
        return number.translate(SEPARATORS)
    if rule == "false":
        return number
    _check_cost(rule)
    try:
        return await asyncio.to_thread(_search, rule, number)
    except regex.error as error:
        raise _refused(str(error)) from None
    except TimeoutError:
        raise _refused("takes too long") from None


def _search(rule: str, number: str) -> str:
    found = regex.compile(rule).search(number, timeout=MAX_SECONDS, concurrent=True)
    if found is None or not found.re.groups:
        return number
    return found.group(1) or number


def _check_cost(rule: str) -> None:
    if len(rule) > MAX_PATTERN:
        raise _refused(f"longer than {MAX_PATTERN} characters")
    product = 1
    for low, high in REPEAT.findall(rule):
        product *= max(int(low or 0), int(high or 0), 1)
    if product > MAX_REPEATS:
        raise _refused("repeats too often")


def _refused(reason: str) -> ValidationFailed:
    return ValidationFailed({"number_filter": {"invalid": {"message": "Not a usable expression", "cause": reason}}})
