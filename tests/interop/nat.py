"""A home network behind a NAT router, in network namespaces of its own: phone - router (masquerade) - this machine.

It needs root, `ip` and `nft`. Everything made is named after the process and removed by `close`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

OUTSIDE = "203.0.113.1"
"""This machine, as the phone sees it."""
ROUTER = "203.0.113.2"
"""The router, as this machine sees it: where everything from the phone seems to come from."""
PHONE = "192.168.77.2"
_INSIDE = "192.168.77.1"


class NatUnavailable(Exception):
    """This machine does not let us make the network; the text says why."""


class Nat:
    """The network. Make it with `open`."""

    def __init__(self) -> None:
        self._phone, self._router, self._wan = (f"roost-{name}{os.getpid()}" for name in ("p", "r", "w"))

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that is to run beside the phone."""
        return ("ip", "netns", "exec", self._phone)

    def open(self) -> Nat:
        """Make the network. Raises NatUnavailable."""
        if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nft") is None:
            raise NatUnavailable("needs root, ip and nft")
        try:
            self._build()
        except subprocess.CalledProcessError as error:
            self.close()
            raise NatUnavailable(f"{' '.join(error.cmd)}: {error.stderr.decode().strip()}") from error
        return self

    def close(self) -> None:
        """Remove what was made; an interface goes with its other end."""
        for words in (("link", "del", self._wan), ("netns", "del", self._phone), ("netns", "del", self._router)):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", *words)

    def give_other_ports(self) -> None:
        """Map what comes from now on to other ports; a UDP mapping in use lives on while a packet a second uses it."""
        for name in ("udp_timeout", "udp_timeout_stream"):
            self._in_router("sysctl", "-q", "-w", f"net.netfilter.nf_conntrack_{name}=1")
        self._in_router("nft", "flush chain ip nat out")
        self._masquerade("40000-40999")

    def _build(self) -> None:
        for name in (self._phone, self._router):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "link", "add", self._wan, "type", "veth", "peer", "name", "wan", "netns", self._router)
        _run(
            "ip", "-n", self._router, "link", "add", "lan", "type", "veth", "peer", "name", "eth", "netns", self._phone
        )
        _run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", self._wan)
        _run("ip", "link", "set", self._wan, "up")
        for name, device, address in (
            (self._router, "wan", ROUTER), (self._router, "lan", _INSIDE), (self._phone, "eth", PHONE),
        ):  # fmt: skip
            _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
            _run("ip", "-n", name, "link", "set", device, "up")
        _run("ip", "-n", self._phone, "route", "add", "default", "via", _INSIDE)
        self._in_router("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        self._in_router("nft", "add table ip nat")
        self._in_router("nft", "add chain ip nat out { type nat hook postrouting priority 100 ; }")
        self._masquerade("30000-30999")

    def _masquerade(self, ports: str) -> None:
        rule = f"add rule ip nat out oifname wan meta l4proto {{ tcp, udp }} masquerade to :{ports}"
        self._in_router("nft", rule)

    def _in_router(self, *words: str) -> None:
        _run("ip", "netns", "exec", self._router, *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=10)
