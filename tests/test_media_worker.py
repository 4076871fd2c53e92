"""Two calls in a real worker: what goes in at one end is measured at the other, as RTP."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from rtp_peer import RtpPeer

from sip.anchor import Anchor, Party
from sip.callevents import Branch
from sip.media.supervisor import MediaPolicy, MediaSupervisor, NoMedia
from sip.outcome import Side
from sip.sdp import SessionDescription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sip.media.live import LiveBridge

pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")

HEARD = 0.95
PATIENCE = 5.0
"""Seconds that what is expected may take; most takes a tenth of one."""
BRANCHES = {side: Branch(side, 0) for side in Side}


@dataclass
class Conversation:
    """A bridge, the plan that drives it, and a phone's media at each end."""

    bridge: LiveBridge
    media: Anchor
    device: RtpPeer
    number: RtpPeer

    def peer(self, side: Side) -> RtpPeer:
        return self.device if side is Side.A else self.number

    def answer(self, side: Side) -> None:
        """Let the side's phone answer and begin to play."""
        branch, peer = BRANCHES[side], self.peer(side)
        peer.play(rtp_port(self.media.invite(branch)))
        self.media.choose(branch)
        self.media.answered(side, peer.description())
        self.media.taken(side)

    def join(self) -> None:
        for side in Side:
            self.answer(side)


@pytest.fixture
async def supervisor() -> AsyncIterator[MediaSupervisor]:
    made = MediaSupervisor(MediaPolicy(workers=0, ports=(9400, 9799)))
    await made.start()
    yield made
    await made.close()


@asynccontextmanager
async def conversation(supervisor: MediaSupervisor, *, early_media: bool = False) -> AsyncIterator[Conversation]:
    bridge = await supervisor.open()
    media = Anchor(bridge, session_id=1, early_media=early_media)
    for side in Side:
        media.expect(side, [Party("127.0.0.1", ("PCMU/8000",))])
    async with RtpPeer(440) as device, RtpPeer(1000) as number:
        yield Conversation(bridge, media, device, number)
    bridge.close()


def rtp_port(offer: bytes) -> int:
    return SessionDescription.parse(offer).media[0].port


async def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def test_each_hears_the_other(supervisor: MediaSupervisor) -> None:
    """A tone played into each end arrives at the other, and nothing else does."""
    async with conversation(supervisor) as talk:
        talk.join()
        await until(lambda: talk.device.share(1000) > HEARD, "the device hears the number")
        await until(lambda: talk.number.share(440) > HEARD, "the number hears the device")

        assert talk.device.share(440) < 0.01, "nobody hears himself"


async def test_a_key_is_passed_on_and_told(supervisor: MediaSupervisor) -> None:
    """RFC 4733 both ways; the core hears which side pressed what."""
    told: list[tuple[Side, str]] = []
    async with conversation(supervisor) as talk:
        talk.bridge.listen(lambda: None, lambda side, key: told.append((side, key)))
        talk.join()
        await until(lambda: talk.number.share(440) > HEARD, "they talk")
        talk.device.press("7")
        await until(lambda: talk.number.keys == ["7"], "the number gets the device's key")
        talk.number.press("#")
        await until(lambda: talk.device.keys == ["#"], "the device gets the number's key")

    assert [(Side.A, "7"), (Side.B, "#")] == told


async def test_the_device_hears_ringing_until_the_number_answers(supervisor: MediaSupervisor) -> None:
    """440 and 480 Hz, the American ringing; then the number, and the ringing is over."""
    async with conversation(supervisor) as talk:
        talk.answer(Side.A)
        talk.media.rang(BRANCHES[Side.B], b"")
        await until(lambda: talk.device.share(440, 480) > HEARD, "the device hears ringing")
        assert 0.4 < talk.device.share(480) < 0.6
        talk.answer(Side.B)
        await until(lambda: talk.device.share(1000) > HEARD, "the device hears the number")


async def test_early_media_is_heard_before_the_answer(supervisor: MediaSupervisor) -> None:
    """What the far network plays with its 183."""
    async with conversation(supervisor, early_media=True) as talk:
        talk.answer(Side.A)
        talk.number.play(rtp_port(talk.media.invite(BRANCHES[Side.B])))
        talk.media.rang(BRANCHES[Side.B], talk.number.description())
        await until(lambda: talk.device.share(1000) > HEARD, "the device hears the network")


async def test_who_is_asked_for_a_key_hears_so_and_presses_it(supervisor: MediaSupervisor) -> None:
    """The phone that a call was forwarded to; the other side does not get the key."""
    told: list[tuple[Side, str]] = []
    async with conversation(supervisor) as talk:
        talk.bridge.listen(lambda: None, lambda side, key: told.append((side, key)))
        talk.answer(Side.A)
        talk.answer(Side.B)
        talk.media.ask(Side.B)
        await until(lambda: talk.number.share(1000, last=0.1) > HEARD, "short tones")
        talk.number.press("1")
        await until(lambda: told == [(Side.B, "1")], "the core gets the key")


async def test_a_held_phone_hears_nothing_and_is_heard_again_later(supervisor: MediaSupervisor) -> None:
    """A re-INVITE of one side's; the worker's port stays what it was."""
    async with conversation(supervisor) as talk:
        talk.join()
        await until(lambda: talk.device.share(1000) > HEARD, "they talk")
        before = rtp_port(talk.media.invite(BRANCHES[Side.A]))
        held = talk.media.hold(Side.A, talk.device.description("a=inactive"))
        assert b"a=inactive" in held
        await asyncio.sleep(0.1)
        heard = len(talk.device.heard)
        await asyncio.sleep(0.2)
        assert heard == len(talk.device.heard)
        assert before == rtp_port(talk.media.hold(Side.A, talk.device.description()))
        await until(
            lambda: len(talk.device.heard) > heard + 8000 and talk.device.share(1000) > HEARD, "they talk again"
        )


async def test_a_phone_may_move_its_media(supervisor: MediaSupervisor) -> None:
    """Another port in a re-INVITE: the other's voice goes there."""
    async with conversation(supervisor) as talk, RtpPeer(700) as moved:
        talk.join()
        await until(lambda: talk.number.share(440) > HEARD, "they talk")
        await talk.device.stop()
        moved.play(rtp_port(talk.media.invite(BRANCHES[Side.A])))
        talk.media.hold(Side.A, moved.description())
        await until(lambda: moved.share(1000) > HEARD, "the number is heard there")
        await until(lambda: talk.number.share(700) > 0.5, "and it is heard at the number's")


async def test_calls_have_their_own_ports_of_the_range(supervisor: MediaSupervisor) -> None:
    """Read in the offers themselves: this is what the memory of pjsua2's account was written for."""
    bridges = [await supervisor.open() for _ in range(3)]
    ports = [rtp_port(bridge.offer(side).encode()) for bridge in bridges for side in Side]
    for bridge in bridges:
        bridge.close()

    assert 6 == len({*ports})
    assert all(port % 2 == 0 and 9400 <= port <= 9798 for port in ports)


async def test_ports_that_are_taken_are_avoided() -> None:
    """A share that another program has a port of is left alone, and the call has the next one or is refused."""
    made = MediaSupervisor(MediaPolicy(workers=0, ports=(9800, 9807)))
    await made.start()
    async with RtpPeer(440, port=9804):
        bridge = await made.open()
        with pytest.raises(NoMedia, match=r"media\.port_range"):
            await made.open()

        assert {9800, 9802} == {rtp_port(bridge.offer(side).encode()) for side in Side}
    await made.close()
