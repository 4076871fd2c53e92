"""Webhooks: order, retries, loss, and targets that are slow, dead or hostile."""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson
import pytest

from api.ports import Document, Kind
from daemon.events import EventBus
from daemon.store import Store
from daemon.store.outbox import Parcel
from daemon.webhook import Webhook, build_request, key_of, sign
from daemon.webhook_client import Outcome
from daemon.webhooks import FIRST_PAUSE, LONGEST_PAUSE, Webhooks, pause

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from api.ports import JsonObject
    from daemon.webhook import WebhookRequest

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
TAKEN, REFUSED = Outcome(204, "", 0.01), Outcome(500, "no", 0.01)


def document(webhook_id: str = "w", account_id: str = "a", **data: Any) -> Document:
    whole: JsonObject = {"name": "w", "uri": f"http://{webhook_id}.test/in", "hook": "all", "retries": 1, **data}
    return Document(Kind.WEBHOOK, account_id, webhook_id, "1-a", 0, 0, whole, {"pvt_secret": SECRET})


@dataclass
class Targets:
    """Servers by their host name: implements `daemon.webhooks.Sender`."""

    answers: dict[str, Callable[[], Outcome]] = field(default_factory=dict)
    told: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    silent: set[str] = field(default_factory=set)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, request: WebhookRequest) -> Outcome:
        name = str(request.url.host).partition(".")[0]
        assert request.body is not None
        if name in self.silent:
            await asyncio.Event().wait()
        outcome = self.answers.get(name, lambda: TAKEN)()
        self.told[name].append({**orjson.loads(request.body), "delivered": outcome.delivered})
        self.heard.set()
        return outcome

    async def numbers(self, name: str, count: int) -> list[Any]:
        """Return what a target was told, once that is as much: `number` of each event, or how many were lost."""
        while len(self.told[name]) < count:
            self.heard.clear()
            await asyncio.wait_for(self.heard.wait(), 5)
        return [each["number"] if "number" in each else {"lost": each["lost"]} for each in self.told[name]]


class World:
    """A bus, webhooks and their targets over a database."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.bus, self.targets = EventBus(), Targets()
        options.setdefault("pause", lambda _: 0.0)
        self.webhooks = Webhooks(store.outbox, self.targets, **options)
        self.bus.watch(self.webhooks.happened)

    def put(self, webhook_id: str = "w", account_id: str = "a", **data: Any) -> None:
        self.webhooks.changed(None, document(webhook_id, account_id, **data))

    def emit(self, *numbers: int, name: str = "device.registered", account_id: str = "a") -> None:
        for number in numbers:
            self.bus.emit(account_id, name, {"number": number})


async def test_events_are_told_in_order(store: Store) -> None:
    """Only those that the webhook is for."""
    world = World(store)
    world.put(hook="device")
    world.emit(1)
    world.emit(2, name="sync.delivered")
    world.emit(3, account_id="b")
    world.emit(4, 5)

    assert await world.targets.numbers("w", 3) == [1, 4, 5]
    await world.webhooks.close()


async def test_what_was_told_is_not_kept(store: Store, store_path: Path) -> None:
    """Nothing is told twice after a restart."""
    world = World(store)
    world.put()
    world.emit(1, 2)
    await world.targets.numbers("w", 2)
    await world.webhooks.close()
    await store.close()
    again = await Store.open(store_path)

    assert await again.outbox.load() == []
    await again.close()


async def test_failures_are_retried(store: Store) -> None:
    """The next event waits until the one before it was taken."""
    world = World(store)
    answers = iter([REFUSED, TAKEN, TAKEN])
    world.targets.answers["w"] = lambda: next(answers)
    world.put()
    world.emit(1, 2)

    assert await world.targets.numbers("w", 3) == [1, 1, 2]
    attempts = world.webhooks.attempts("a", "w")
    assert [(each.result, each.response_code, each.retries_left) for each in reversed(attempts)] == [
        ("failure", 500, 1),
        ("success", 204, 0),
        ("success", 204, 0),
    ]
    await world.webhooks.close()


async def test_what_is_given_up_is_told_as_lost(store: Store) -> None:
    """As soon as the target takes something, before anything else."""
    world = World(store)
    answers = iter([REFUSED] * 5)
    world.targets.answers["w"] = lambda: next(answers, TAKEN)
    world.put(retries=1)
    world.emit(1, 2)

    # 1 twice; then the notice, until it is taken; then 2, which is not lost.
    assert await world.targets.numbers("w", 7) == [1, 1, {"lost": 1}, {"lost": 1}, {"lost": 1}, {"lost": 1}, 2]
    assert world.targets.told["w"][5]["hook_event"] == "events.lost"
    await world.webhooks.close()


async def test_slow_target_delays_itself_alone_and_loses_its_oldest(store: Store) -> None:
    """The other one has everything at once."""
    world = World(store, keep=3)
    world.targets.silent.add("slow")
    world.put("slow")
    world.put("quick")
    for number in range(6):
        world.emit(number)
        assert await world.targets.numbers("quick", number + 1) == list(range(number + 1))
    await world.webhooks.close()
    world.targets.silent.clear()
    await restart(world, store)

    assert await world.targets.numbers("slow", 4) == [{"lost": 3}, 0, 4, 5]
    await world.webhooks.close()


async def restart(world: World, store: Store, *hooks: Document) -> None:
    """Make the next process's webhooks over what the last one left."""
    world.webhooks = Webhooks(store.outbox, world.targets, pause=lambda _: 0.0)
    for hook in hooks or (document("slow"), document("quick")):
        world.webhooks.changed(None, hook)
    await settled(store)
    await world.webhooks.load()


async def settled(store: Store) -> None:
    """Wait until all that was queued before is written."""
    await store.values.get_or_create("settled", lambda: b"")


async def test_undelivered_events_outlive_the_process(store: Store, store_path: Path) -> None:
    """With how often they were tried; those of a webhook that is gone are forgotten."""
    world = World(store, pause=lambda _: 60.0)
    world.targets.answers["w"] = lambda: REFUSED
    world.put("w", retries=2)
    world.put("gone")
    world.targets.silent.add("gone")
    world.emit(1, 2)
    await world.targets.numbers("w", 1)
    await world.webhooks.close()
    await store.close()

    again = await Store.open(store_path)
    world.targets.told.clear()
    answers = iter([REFUSED, REFUSED])
    world.targets.answers["w"] = lambda: next(answers, TAKEN)
    await restart(world, again, document("w", retries=2))

    assert await world.targets.numbers("w", 4) == [1, 1, {"lost": 1}, 2]
    await world.webhooks.close()
    await settled(again)
    assert await again.outbox.load() == []
    await again.close()


async def test_webhook_that_is_off_or_gone_is_told_nothing(store: Store) -> None:
    """Nor later what it was not told then."""
    world = World(store)
    world.targets.silent |= {"off", "gone"}
    for name in ("off", "gone"):
        world.put(name)
    world.emit(1)
    await asyncio.sleep(0)
    world.webhooks.changed(document("off"), document("off", enabled=False))
    world.webhooks.changed(document("gone"), None)
    world.targets.silent.clear()
    world.put("off")
    world.emit(2)

    assert await world.targets.numbers("off", 1) == [2]
    assert world.targets.told["gone"] == []
    await settled(store)
    await world.webhooks.close()


async def test_a_changed_webhook_is_tried_at_once(store: Store) -> None:
    """Whoever mended it need not wait for a pause to end."""
    world = World(store, pause=lambda _: 3600.0)
    world.targets.answers["old"] = lambda: REFUSED
    world.put("w", uri="http://old.test/")
    world.emit(1)
    await world.targets.numbers("old", 1)
    world.put("w", uri="http://new.test/")

    assert await world.targets.numbers("new", 1) == [1]
    await world.webhooks.close()


async def test_events_of_accounts_below(store: Store) -> None:
    """Where the webhook asks for them."""
    world = World(store)
    child: JsonObject = {"pvt_tree": ["a"]}
    world.webhooks.changed(None, Document(Kind.ACCOUNT, "c", "c", "1-a", 0, 0, {}, child))
    world.put("own")
    world.put("all", include_subaccounts=True)
    world.emit(1, account_id="c")
    world.emit(2)

    assert await world.targets.numbers("all", 2) == [1, 2]
    assert await world.targets.numbers("own", 1) == [2]
    assert world.targets.told["all"][0]["account_id"] == "c"
    await world.webhooks.close()


async def test_the_store_may_fail(store: Store) -> None:
    """Events are told all the same."""
    world = World(store)
    world.put()
    await store.close()
    world.emit(1, 2)

    assert await world.targets.numbers("w", 2) == [1, 2]
    await world.webhooks.close()


def test_pauses_grow_up_to_a_limit_with_jitter() -> None:
    """So that a dead target costs little, and many that come back do not come at once."""
    assert 0.7 * FIRST_PAUSE < pause(1) < 1.3 * FIRST_PAUSE
    assert 0.7 * 4 * FIRST_PAUSE < pause(2) < 1.3 * 4 * FIRST_PAUSE
    assert 0.7 * LONGEST_PAUSE < pause(1000) < 1.3 * LONGEST_PAUSE
    assert len({pause(3) for _ in range(10)}) > 1


def test_signature() -> None:
    """The example of the Standard Webhooks libraries."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("verb", ["get", "post", "put"])
@pytest.mark.parametrize("form", ["json", "form-data"])
async def test_requests(verb: str, form: str) -> None:
    """The event, its name as Kazoo calls it, and the custom data over all; a GET has it in its query string."""
    told: list[Any] = []
    bus = EventBus(lambda: 1_700_000_000.0)
    bus.watch(told.append)
    bus.emit("a", "device.expired", {"device_id": "d\u00e9", "registered": False})
    (event,) = told
    custom = {"tenant": "7 & 8", "device_id": "theirs"}
    data = {"uri": "https://crm.test/in?k=v", "http_verb": verb, "format": form, "custom_data": custom}
    webhook = Webhook.of(document(**data))
    assert webhook is not None
    parcel = Parcel("a", "w", event.id, "a", event.name, event.body)
    request = build_request(webhook, parcel, 1_700_000_001)

    if verb == "get":
        assert request.body is None
        signed = request.url.raw_query_string.encode()
        facts = {key: value[0] for key, value in parse_qs(signed.decode()).items()}
        assert facts.pop("k") == "v"
    else:
        assert str(request.url) == "https://crm.test/in?k=v"
        signed = request.body or b""
        facts = orjson.loads(signed) if form == "json" else {k: v[0] for k, v in parse_qs(signed.decode()).items()}
    assert request.method == verb.upper()
    assert (str(facts["id"]), str(facts["registered"]).lower()) == (str(event.id), "false")
    assert (facts["tenant"], facts["device_id"]) == ("7 & 8", "theirs")
    assert (facts["event"], facts["hook_event"]) == ("device.expired", "device.expired")
    assert request.headers["webhook-timestamp"] == "1700000001"
    assert request.headers["webhook-id"] == f"a.{event.id}"
    assert request.headers["webhook-signature"] == sign(b"s" * 32, f"a.{event.id}", 1_700_000_001, signed)
