"""`roost tls self-signed`, run as its users run it."""

from __future__ import annotations

import json
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command in a folder of the test's own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "STATE_"))}
        command = [sys.executable, "-m", "daemon", "tls", "self-signed", *arguments]
        environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_pair_is_made_for_the_names_asked_for_and_our_own(run: Run, tmp_path: Path) -> None:
    """It serves at once, only its owner reads the key, and what is printed goes into the configuration."""
    done = run("--name", "pbx.test", "--name", "192.0.2.9", "--days", "7")
    assert 0 == done.returncode, done.stderr
    folder = tmp_path / "var" / "tls"
    certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(folder / "certificate.pem", folder / "key.pem")

    assert {"pbx.test", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    assert {"192.0.2.9", "127.0.0.1", "::1"} <= set(map(str, names.get_values_for_type(x509.IPAddress)))
    assert 0o600 == stat.S_IMODE((folder / "key.pem").stat().st_mode)
    assert f'certificate = "{folder}/certificate.pem"' in done.stdout
    assert f'key = "{folder}/key.pem"' in done.stdout


def test_files_are_not_replaced_by_accident(run: Run, tmp_path: Path) -> None:
    """Only --force replaces a certificate that phones may trust already."""
    first = json.loads(run("--directory", "here", "--json").stdout)
    before = Path(first["certificate"]).read_bytes()
    refused = run("--directory", "here")
    assert 1 == refused.returncode
    assert "--force" in refused.stderr
    assert before == Path(first["certificate"]).read_bytes()

    assert 0 == run("--directory", "here", "--force").returncode
    assert before != Path(first["certificate"]).read_bytes()
    assert {"certificate.pem", "key.pem"} == {file.name for file in (tmp_path / "here").iterdir()}


def test_bad_name_is_refused(run: Run) -> None:
    done = run("--name", "not a name")

    assert 2 == done.returncode
    assert "neither a host name nor an address" in done.stderr
