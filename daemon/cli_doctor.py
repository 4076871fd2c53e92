"""`roost doctor`: everything that can keep phones from registering, looked at in one go."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import stat
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from config.loader import known_keys
from config.settings import LogSettings
from daemon.cli_config import act_as_owner, config_option, json_option, load_settings
from daemon.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from config.listen import HostPort
    from config.loader import Loaded
    from daemon.doctor.finding import Finding
    from daemon.doctor.phones import PhoneSettings
    from daemon.doctor.sockets import Holder

ANSWER_LIMIT: Final = 6.0  # seconds; the daemon's look at itself takes five at most
SYSTEMCTL_LIMIT: Final = 5.0
MAX_BODY: Final = 500  # bytes of what a failing daemon says


@click.command()
@config_option
@json_option
def doctor(config: Path | None, *, as_json: bool) -> None:
    """Look at ports, address, clock, database, certificates, media worker, limits, disk and file modes.

    It works whether the daemon is up or down, changes nothing, and says what a phone must be set to. As root it sees
    most. Exit status 1 where there is a fault; warnings alone are 0.
    """
    # Imported here, so that the other commands start without it.
    from daemon.doctor.finding import State
    from daemon.doctor.phones import phone_settings
    from daemon.doctor.store import realms_of

    loaded = load_settings(config)
    configure_logging(LogSettings(level="error", format=loaded.settings.log.format))
    findings = list(_findings(loaded))
    phones = phone_settings(loaded.settings, realms_of(Path(loaded.settings.store.path)))
    faults = sum(finding.state is State.FAULT for finding in findings)
    if as_json:
        rows = [asdict(finding) | {"state": finding.state.value} for finding in findings]
        click.echo(json.dumps({"healthy": not faults, "findings": rows, "phones": [asdict(each) for each in phones]}))
    else:
        _tell(findings, phones)
    raise SystemExit(1 if faults else 0)


def _findings(loaded: Loaded) -> Iterator[Finding]:
    from daemon.doctor import certificates, host, network, store, worker

    settings, now = loaded.settings, datetime.now(timezone.utc)
    database = Path(settings.store.path)
    wanted = network.wanted_sockets(settings)
    daemon = network.find_daemon(wanted)
    yield from _daemon(daemon, settings.api.listen)
    yield from network.check_ports(wanted)
    yield from network.check_media_ports(settings, daemon)
    yield from network.check_addresses(settings)
    yield from host.check_clock(host.kernel_clock_state(), now)
    yield from host.check_open_files(*_open_files(daemon), settings.sip.max_connections)
    # From here on as the daemon sees it: what root may read says nothing of what the service may.
    act_as_owner(database)
    yield from _configuration(loaded)
    yield from host.check_disk(database.parent, needed=database.stat().st_size if database.exists() else 0)
    yield from store.check_database(database)
    yield from store.check_database_mode(database)
    yield from certificates.check_certificates(settings.tls, now)
    yield from worker.check_worker(settings.media.ports)


def _daemon(daemon: Holder | None, api: HostPort) -> Iterator[Finding]:
    """Ask a daemon that runs how it is."""
    from daemon.doctor.finding import fault, good

    if daemon is None:
        yield good("daemon", "none runs with this configuration")
        return
    connection = http.client.HTTPConnection(api.host, api.port, timeout=ANSWER_LIMIT)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(MAX_BODY).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        yield fault("daemon", f"pid {daemon.pid} runs, but does not answer at {api}: {error}", "see its log")
        return
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.OK:
        yield good("daemon", f"pid {daemon.pid} serves: SIP answers, the database takes writes")
    else:
        yield fault("daemon", f"pid {daemon.pid} runs, but fails: {body}", "see its log")


def _open_files(daemon: Holder | None) -> tuple[str, int]:
    """Return the limit of the daemon that runs, else that of the service, else our own, and whose it is."""
    from daemon.doctor.host import open_files_limit

    if daemon is not None and daemon.pid:
        with contextlib.suppress(OSError):
            return "the daemon", open_files_limit(daemon.pid)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["systemctl", "show", "--property=LoadState,LimitNOFILE", "roost.service"],  # noqa: S607 - wherever it is
            capture_output=True, text=True, timeout=SYSTEMCTL_LIMIT, check=False,
        )  # fmt: skip
        told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        if told.get("LoadState") == "loaded" and told.get("LimitNOFILE", "").isdecimal():
            return "the service", int(told["LimitNOFILE"])
    return "a daemon started from here", open_files_limit(0)


def _configuration(loaded: Loaded) -> Iterator[Finding]:
    """Tell whether the service can read its configuration, and others a password in it."""
    from daemon.doctor.finding import fault, good, warning

    file = loaded.file
    if file is None:
        yield good("configuration", "no file, so the defaults")
        return
    if not os.access(file, os.R_OK):
        advice = f"chgrp roost {file} && chmod 640 {file}"
        yield fault("configuration", f"{file} cannot be read by the service", advice)
        return
    yield good("configuration", f"{file} is without fault")
    secrets = any(key.rule.secret and getattr(getattr(loaded.settings, key.section), key.name) for key in known_keys())
    if secrets and stat.S_IMODE(file.stat().st_mode) & 0o007:
        yield warning("modes", f"{file} can be read by everybody, and a password is configured", f"chmod 640 {file}")


def _tell(findings: Sequence[Finding], phones: Sequence[PhoneSettings]) -> None:
    from daemon.doctor.finding import State

    colours = {State.GOOD: "green", State.WARNING: "yellow", State.FAULT: "red"}
    for finding in findings:
        state = click.style(f"{finding.state.value:8}", fg=colours[finding.state])
        click.echo(f"{state} {finding.check:14} {finding.message}")
        if finding.advice:
            click.echo(f"{'':24}{finding.advice}")
    for phone in phones:
        click.echo(f"\nA phone of {phone.domain}:")
        click.echo(f"  domain, realm    {phone.domain}")
        click.echo(f"  server or proxy  {phone.proxy or phone.domain}")
        click.echo(f"  transport        {', '.join(phone.transports)}")
        click.echo("  user, password   sip.username and sip.password of its device")
    count = {state: sum(finding.state is state for finding in findings) for state in State}
    click.echo(f"\n{count[State.FAULT]} faults, {count[State.WARNING]} warnings")
