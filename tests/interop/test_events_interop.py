"""What happens to a real phone, as those who listen hear it from the running daemon."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from roost_process import Roost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

LIMIT = 10.0  # seconds that an event may take


class Listener:
    """A client of the event stream."""

    def __init__(self, roost: Roost, query: str = "", last: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", roost.api_port, timeout=LIMIT)
        headers = {"X-Auth-Token": roost.token, "Accept": "text/event-stream"}
        if last:
            headers["Last-Event-ID"] = last
        self._connection.request("GET", f"/v2/accounts/{roost.account_id}/events{query}", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200

    def next(self) -> dict[str, str]:
        """Return the fields of the next event."""
        fields: dict[str, str] = {}
        while "data" not in fields or fields["line"]:
            line = self._response.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            fields |= {name: value, "line": line}
        return fields

    def close(self) -> None:
        self._connection.close()


class Receiver:
    """A web server that takes, or refuses, what it is sent."""

    def __init__(self, port: int = 0) -> None:
        told: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.put(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._told = told
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.port = self._server.server_address[1]

    def next(self) -> tuple[dict[str, str], bytes]:
        """Return headers and body of the next request."""
        return self._told.get(timeout=LIMIT * 2)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def telling(tmp_path: Path) -> Iterator[Roost]:
    """Run a daemon that may send webhooks to loopback."""
    daemon = Roost(tmp_path / "roost", {"webhooks": {"allow_local": True}}).create().start()
    yield daemon
    if daemon.running:
        assert daemon.stop() == 0


def hook(roost: Roost, port: int, **fields: object) -> dict[str, Any]:
    """Make a webhook to a port of loopback."""
    data = {"name": "w", "uri": f"http://127.0.0.1:{port}/in", "hook": "device", **fields}
    answer = roost.on_account("PUT", "/webhooks", data)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.data
    return made


def test_listener_hears_of_a_phone(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """As it registers and goes; and, after it was away, what it missed."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    listener = Listener(roost, "?events=device")
    phone.register()
    came = listener.next()
    listener.close()
    phone.unregister()
    later = Listener(roost, "?events=device", last=came["id"])
    gone = later.next()
    later.close()

    assert (came["event"], gone["event"]) == ("device.registered", "device.unregistered")
    assert json.loads(came["data"])["device_id"] == device.id
    assert json.loads(came["data"])["source"].endswith(str(phone.port))
    assert json.loads(gone["data"])["registered"] is False


def test_status_tells_of_a_phone(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """Where it is, before and after it goes."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    phone.register()
    status = roost.on_account("GET", f"/devices/{device.id}/status").data
    phone.unregister()

    assert status["registered"] is True
    assert [contact["contact"] for contact in status["contacts"]] == [phone.contact]
    assert roost.on_account("GET", f"/devices/{device.id}/status").data["registered"] is False


def test_a_stop_does_not_wait_for_listeners(own_roost: Roost) -> None:
    """Their streams end with it."""
    listener = Listener(own_roost)
    begun = time.monotonic()

    assert own_roost.stop() == 0
    assert time.monotonic() - begun < 4
    assert b"data" not in listener._response.read()
    listener.close()


def test_webhook_is_signed(telling: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """The receiver can tell that it comes from us, with the secret that the creation told."""
    with contextlib.closing(Receiver()) as receiver:
        made = hook(telling, receiver.port, custom_data={"tenant": "7"})
        phone = sipp_phone(telling, device := telling.create_device())
        phone.register()
        headers, body = receiver.next()

    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(made["secret"].removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    event = json.loads(body)
    assert headers["webhook-signature"] == expected
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert (event["hook_event"], event["device_id"], event["tenant"]) == ("device.registered", device.id, "7")


def test_what_a_dead_webhook_missed_outlives_a_power_cut(telling: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """It is told when both are there again."""
    receiver = Receiver()
    receiver.close()
    made = hook(telling, receiver.port, retries=4)
    sipp_phone(telling, device := telling.create_device()).register()
    path = f"/webhooks/{made['id']}/attempts"
    deadline = time.monotonic() + LIMIT
    while not (attempts := telling.on_account("GET", path).data) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)  # what is queued for the store is written within milliseconds
    telling.kill()
    with contextlib.closing(Receiver(receiver.port)) as again:
        telling.start()
        _, body = again.next()

    assert attempts[0]["result"] == "failure"
    assert json.loads(body)["device_id"] == device.id


def test_nothing_is_sent_to_this_host_unless_it_may(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """The attempt says why; neither a number nor a name gets there."""
    with contextlib.closing(Receiver()) as receiver:
        made = [hook(roost, receiver.port), hook(roost, receiver.port, uri=f"http://localhost:{receiver.port}/")]
        sipp_phone(roost, roost.create_device()).register()
        deadline = time.monotonic() + LIMIT
        reasons: set[str] = set()
        while len(reasons) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
            attempts = roost.on_account("GET", "/webhooks/attempts").data
            reasons = {f"{each['hook_id']} {each['reason']}" for each in attempts}
        for each in made:
            roost.on_account("DELETE", f"/webhooks/{each['id']}")

        assert len(reasons) == 2
        assert all("is a loopback address; nothing is sent there" in reason for reason in reasons)
        with pytest.raises(queue.Empty):
            receiver._told.get_nowait()
