"""What must hold for any bytes, by datagram and by stream: the target of the fuzzer, and of tests without it."""

from __future__ import annotations

import asyncio

from deaf_registrar import DEVICE, STRANGER, DeafRegistrar

from sip.errors import ParseError
from sip.message import Response, parse_message
from sip.stun import answer_binding

AMPLIFICATION = 5.0
"""An answer to somebody unproven is at the most so many times as large as the request."""
ROUND = 1000
"""Inputs between two registrars, so that what one has learnt does not pile up."""


class Judge:
    """Feeds inputs to a registrar and raises AssertionError where something does not hold."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._inputs = 0
        self._registrar = self._fresh()

    def __call__(self, data: bytes) -> None:
        """Judge one input."""
        self._inputs += 1
        if self._inputs % ROUND == 0:
            self._loop.run_until_complete(self._registrar.close())
            self._registrar = self._fresh()
        self._judge(data)
        # Whatever was left for a later turn of the loop.
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()
        assert not self._registrar.faults, "the registrar failed"

    def close(self) -> None:
        """End the loop."""
        self._loop.run_until_complete(self._registrar.close())
        self._loop.close()

    def _judge(self, data: bytes) -> None:
        registrar = self._registrar
        before = len(registrar.transactions)
        answers = registrar.answers(data, STRANGER)
        assert len(answers) <= 1, "more than one answer"
        assert all(len(answer) <= AMPLIFICATION * len(data) for answer in answers), "a stranger is amplified"
        assert len(registrar.transactions) == before, "a stranger leaves state behind"
        for answer in (*answers, *registrar.answers(data, DEVICE)):
            if answer_binding(data, STRANGER.remote) is None:
                _check_answer(answer)
        registrar.take_stream(data[: len(data) // 2], data[len(data) // 2 :])

    def _fresh(self) -> DeafRegistrar:
        async def make() -> DeafRegistrar:
            return DeafRegistrar()

        return self._loop.run_until_complete(make())


def _check_answer(wire: bytes) -> None:
    try:
        answer = parse_message(wire)
    except ParseError as fault:
        raise AssertionError("an answer is no message") from fault
    assert isinstance(answer, Response), "an answer is a request"
    assert answer.defect is None, f"an answer is malformed: {answer.defect}"
