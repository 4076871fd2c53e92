"""Registrations and hotdesks (contract 5.11, 5.12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api_client import Api


async def test_registrations(api: Api) -> None:
    """A row for each binding, under the names of Kazoo's registrar, with what is unknown left out (5.12)."""
    device = await api.put_device()
    api.presence.register(api.master.account_id, device["id"], path=("<sip:edge.example;lr>",))
    envelope = await api.ask("GET", "/registrations")

    assert envelope["data"] == [
        {
            "account_name": "Master",
            "account_realm": "master.example",
            "authorizing_id": device["id"],
            "authorizing_type": "device",
            "call_id": "a84b4c76e66710",
            "contact": "sip:bob@192.0.2.7:5062",
            "contact_ip": "192.0.2.7",
            "contact_port": 5062,
            "event_timestamp": 63_867_219_200,
            "expires": 480,
            "from_host": "master.example",
            "from_user": "bob",
            "initial_registration": 63_867_219_000,
            "last_registration": 63_867_219_200,
            "network_ip": "192.0.2.7",
            "network_port": 5062,
            "original_contact": "sip:bob@192.0.2.7:5062",
            "proxy_path": "<sip:edge.example;lr>",
            "proxy_protocol": "udp",
            "realm": "master.example",
            "source_ip": "192.0.2.7",
            "source_port": 5062,
            "to_host": "master.example",
            "to_user": "bob",
            "user_agent": "Phone 1.0",
            "username": "bob",
        }
    ]
    assert "page_size" not in envelope
    assert "revision" not in envelope


async def test_count(api: Api) -> None:
    """The account's bindings are counted, not its devices."""
    for contact in ("sip:bob@192.0.2.7", "sip:bob@192.0.2.8"):
        api.presence.register(api.master.account_id, "d", contact=contact)
    api.presence.register("another", "e")

    assert (await api.ask("GET", "/registrations/count"))["data"] == {"count": 2}
    assert (await api.ask("GET", "/v2/registrations/count"))["data"] == {"count": 3}


async def test_deletion(api: Api) -> None:
    """All are dropped, or one flushed; a username that nobody has is 404 with a list (5.12)."""
    api.presence.register(api.master.account_id, "d")

    assert (await api.ask("DELETE", "/registrations"))["data"] == "ok"
    assert api.presence.table == []
    assert (await api.ask("DELETE", "/registrations/bob"))["data"] == "ok"
    assert (await api.ask("DELETE", "/registrations/none", status=404))["data"] == ["none"]
    assert api.control.flushed == ["bob", "none"]


async def test_hotdesks(api: Api) -> None:
    """A row for each user on each device, seen from account, user and device (5.11)."""
    ann, bea = (await api.put_user(username="ann"))["id"], (await api.put_user())["id"]
    both = await api.put_device(name="both", hotdesk={"users": {ann: {}, bea: {}}})
    one = await api.put_device(name="one", hotdesk={"users": {ann: {}, "0" * 32: {}}})
    await api.put_device(name="owned", owner_id=ann)
    rows = {name: {"device_id": device["id"], "device_name": name} for name, device in (("both", both), ("one", one))}

    def ordered(data: list[dict[str, str]]) -> list[dict[str, str]]:
        return sorted(data, key=lambda row: row["device_name"])

    assert ordered((await api.ask("GET", "/hotdesks"))["data"]) == [rows["both"]] * 2 + [rows["one"]] * 2
    assert ordered((await api.ask("GET", f"/users/{ann}/hotdesks"))["data"]) == [rows["both"], rows["one"]]
    assert (await api.ask("GET", f"/users/{bea}/hotdesks"))["data"] == [rows["both"]]

    users = (await api.ask("GET", f"/devices/{one['id']}/hotdesks"))["data"]

    assert [user["username"] for user in users] == ["ann"]
    assert "flags" not in users[0]


async def test_post_without_hotdesk_ends_it(api: Api) -> None:
    """The state is in the document: a full replacement removes it (4.4)."""
    ann = (await api.put_user())["id"]
    device = await api.put_device(hotdesk={"users": {ann: {}}})
    await api.ask("POST", f"/devices/{device['id']}", data={"name": "n"})

    assert (await api.ask("GET", "/hotdesks"))["data"] == []
