"""The filter for fail2ban, held against what the log says."""

from __future__ import annotations

import configparser
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import structlog

from config.settings import LogSettings
from daemon.log import configure_logging

pytestmark = pytest.mark.usefixtures("restored_logging")

FILTER = Path(__file__).parents[1] / "systemd" / "fail2ban" / "roost.conf"
HOST = r"(?P<host>[0-9A-Fa-f:.]+)"
GUESSERS = {"198.51.100.1", "2001:db8::1", "198.51.100.2", "198.51.100.3"}
FORGED = (
    '","event":"registration.refused","source":"udp:203.0.113.9:1"',
    'x {"aor":"x","reason":"wrong","source":"udp:203.0.113.9:1","event":"registration.refused"',
    "[warning  ] registration.refused aor=x reason=wrong source=udp:203.0.113.9:1",
    "x' reason=wrong source=udp:203.0.113.9:1",
)
"""What somebody writes who wants another address banned."""


def logged(form: str) -> list[str]:
    """Return the log of three guessers, and of others who are none."""
    stream = io.StringIO()
    configure_logging(LogSettings(format=form), stream)
    log = structlog.get_logger("daemon.registration")

    def refuse(aor: str, reason: str, source: str, call_id: str = "c1", **facts: str) -> None:
        log.warning("registration.refused", aor=aor, call_id=call_id, reason=reason, source=source, **facts)

    refuse("bob@acme.test", "wrong", "udp:198.51.100.1:5060", device_id="0a1b")
    refuse("eve@acme.test", "unknown-user", "tls:[2001:db8::1]:5061")
    evading = 'x"device-disabled" reason=device-disabled@acme.test'
    refuse(evading, "wrong", "tcp:198.51.100.2:1", evading)
    refuse("x'y\"z@acme.test", "wrong", "ws:198.51.100.3:1", "")
    for reason in ("device-disabled", "owner-disabled", "account-disabled"):
        refuse("bob@acme.test", reason, "udp:198.51.100.4:5060", device_id="0a1b")
    log.info("registration.refused", to="sip:x@y", reason="foreign-domain", source="udp:198.51.100.5:5060")
    for text in FORGED:
        facts = {"aor": "bob@acme.test", "device_id": "d", "contact": f"sip:{text}", "source": "udp:198.51.100.6:1"}
        log.info("registration.added", **facts, user_agent=text)
        log.info("registration.refused", to=f"sip:{text}@y", reason="foreign-domain", source="udp:198.51.100.5:5060")
        refuse("bob@acme.test", "device-disabled", "udp:198.51.100.5:5060", text, device_id="0a1b")
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("form", "prefix"),
    [
        pytest.param("json", "", id="json"),
        pytest.param("json", "pbx roost[7]: ", id="journal"),
        pytest.param("console", "", id="console"),
    ],
)
def test_guessers_are_found_and_nobody_can_have_another_banned(form: str, prefix: str) -> None:
    """As fail2ban reads it: the line without its date."""
    reader = configparser.RawConfigParser()
    reader.read(FILTER, encoding="utf-8")
    expressions = [re.compile(line.replace("<HOST>", HOST)) for line in reader["Definition"]["failregex"].split("\n")]
    dated = re.compile("|".join(line.strip() for line in (r'"timestamp":"[\dT:-]+', r"^[\d-]+ [\d:]+")))
    rests = [prefix + dated.sub("", line, count=1) for line in logged(form)]
    found = {match["host"] for rest in rests for each in expressions if (match := each.search(rest))}

    assert GUESSERS == found


@pytest.mark.parametrize("form", ["json", "console"])
def test_fail2ban_itself_finds_the_guessers(form: str, tmp_path: Path) -> None:
    """With its own tool, where that is installed."""
    if shutil.which("fail2ban-regex") is None:
        pytest.skip("fail2ban-regex is not installed (apt-get install fail2ban)")
    file = tmp_path / "log"
    file.write_text("".join(f"{line}\n" for line in logged(form)))
    done = subprocess.run(
        ["fail2ban-regex", "--out", "ip", str(file), str(FILTER)], capture_output=True, text=True, check=False
    )

    assert GUESSERS == set(done.stdout.split())
