"""The functions of pjsua that its Python binding has not, called by ctypes: the pump, codecs, WAV player, RTP ports.

Rule: only the thread that makes every other call into pjsua2 may use this.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = "0.1a3"
"""The one release of pjsua2-pybind11 whose memory layout is known here."""
INSTANCE: Final = 16
"""Offset, in a pybind11 object, of the pointer to its C++ object."""
RTP_PORT: Final = 848
"""Offset of the first RTP port in pj::AccountConfig (u32); its range follows."""
USUAL_PORT: Final = 4000
"""What must stand there before we write."""


class NativeFailed(Exception):
    """A function of pjsua's said no, or is not what we know."""


class _String(ctypes.Structure):
    """pj_str_t."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))


class Native:
    """The library that belongs to the module which was imported from this folder."""

    def __init__(self, folder: Path) -> None:
        found = sorted((folder / "pjsua2_pybind11.libs").glob("libpjsua-*.so.2"))
        if not found:
            raise NativeFailed("libpjsua is not where pjsua2-pybind11 has it")
        self._pjsua = ctypes.CDLL(str(found[0]))

    def pump(self, milliseconds: int) -> None:
        """Let pjsua handle what has arrived, waiting so long for the first of it."""
        self._pjsua.pjsua_handle_events(milliseconds)

    def open_player(self, path: str) -> int:
        """Play a WAV file over and over; returns its port of the conference."""
        name, number = path.encode(), ctypes.c_int(-1)
        text = _String(name, len(name))
        _check("player", self._pjsua.pjsua_player_create(ctypes.byref(text), 0, ctypes.byref(number)))
        port: int = self._pjsua.pjsua_player_get_conf_port(number.value)
        return port

    def connect(self, source: int, sink: int) -> None:
        """Let one port of the conference be heard at another; again is no fault."""
        _check("connect", self._pjsua.pjsua_conf_connect(source, sink))

    def disconnect(self, source: int, sink: int) -> None:
        """End that; it is no fault where it was not so."""
        self._pjsua.pjsua_conf_disconnect(source, sink)


def set_rtp_ports(config: object, version: str, first: int, count: int) -> None:
    """Make an AccountConfig use `count` ports from `first` on, by writing into its C++ object.

    The binding has no property for it. Raises NativeFailed where the release, or what stands there, is not the known
    one: better no call than memory overwritten.
    """
    if version != VERSION:
        raise NativeFailed(f"the RTP ports can be set in pjsua2-pybind11 {VERSION} alone, this is {version}")
    base = ctypes.c_size_t.from_address(id(config) + INSTANCE).value
    port = ctypes.c_uint32.from_address(base + RTP_PORT)
    span = ctypes.c_uint32.from_address(base + RTP_PORT + 4)
    if (port.value, span.value) != (USUAL_PORT, 0):
        raise NativeFailed("the account's memory is not laid out as in the release that is known")
    port.value, span.value = first, count - 1


def _check(what: str, status: int) -> None:
    if status != 0:
        raise NativeFailed(f"{what}: pjsip status {status}")
