"""The composition root: builds every part, connects them, and takes them down in order."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from aiohttp import web

from api.app import Api
from api.ports import Ports
from api.server import make_server
from config.loader import ConfigError, changed_keys
from daemon.bootstrap import announce, bootstrap
from daemon.calls import LiveCalls
from daemon.channels import LiveChannels
from daemon.deliveries import Deliveries
from daemon.device_events import NAMES, DeviceEvents
from daemon.dialplan import Dialplan
from daemon.directory import Directory
from daemon.dispatch import Dispatcher
from daemon.egress import anywhere, out_of_bounds
from daemon.events import EventBus
from daemon.extensions import Extensions
from daemon.figures import RequestFigures
from daemon.front import Front
from daemon.garbage import GarbageRounds
from daemon.health import Health
from daemon.lifecycle import Stage, run_stages
from daemon.log import LEVELS
from daemon.loopwatch import LoopWatch
from daemon.media import MediaModes
from daemon.metrics import Metrics, Parts
from daemon.openfiles import make_room
from daemon.overwrite import OverwriteNotices
from daemon.policies import RELOADED, api_policy, endpoint_policy, registration_policy
from daemon.presence import Happening, Presence
from daemon.provisioning import Provisioning
from daemon.qualify import Qualifier
from daemon.quickcall import Quickcalls
from daemon.registration import Registration
from daemon.release import release
from daemon.status import DeviceStatuses
from daemon.store import Occupancy, Store
from daemon.switching import quick_switching
from daemon.sync import DeviceControl
from daemon.sync_jobs import SyncJobs
from daemon.targets import Targets
from daemon.trace import Tracer
from daemon.vendorfile import load_vendors
from daemon.vitals import Vitals
from daemon.webhook_client import WebhookClient
from daemon.webhooks import Webhooks
from sip.calllimits import CallLimits
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.io.hep import HepSender
from sip.io.tap import Tap
from sip.media.supervisor import MediaPolicy, MediaSupervisor
from sip.nonce import NonceSigner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from api.server import Handler
    from config.listen import HostPort
    from config.settings import MediaSettings, Settings
    from daemon.provisioning import DocumentListener
    from daemon.store import NewAccount

log = structlog.get_logger(__name__)

NONCE_LIFETIME: Final = 3600.0  # seconds: a phone that refreshes hourly needs no second round trip
NONCE_KEY: Final = "nonce-key"
EXPIRY_WARNING: Final = 21  # days before the end of a certificate
STOP_LIMIT: Final = 5.0  # seconds that each stage of a stop may take


class Phones(NamedTuple):
    """What knows the phones and sends them requests."""

    dispatcher: Dispatcher
    endpoint: Endpoint
    presence: Presence
    deliveries: Deliveries
    control: DeviceControl
    jobs: SyncJobs
    qualifier: Qualifier


class Calling(NamedTuple):
    """What places calls."""

    media: MediaSupervisor
    live: LiveCalls
    quickcalls: Quickcalls


class Roost:
    """The daemon. Make it, `start` it and `stop` it within one event loop. Raises ConfigError for its vendor file."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
        self._settings = settings
        self._reread = reread or (lambda: settings)
        self._stages: list[Stage] = []
        self._take: Callable[[Settings], None] = lambda _settings: None
        """What gives new settings to the parts that take them while they run."""
        self._directory = Directory()
        self._vendors = load_vendors(settings.vendors.file)
        self._endpoint: Endpoint | None = None
        self._presence: Presence | None = None
        self._calls: LiveCalls | None = None
        self._vitals: Vitals | None = None

    async def start(self) -> None:
        """Open the store, load what phones were told, and listen. Raises OSError where an address cannot be bound."""
        make_room(self._settings.sip.max_connections)
        garbage = GarbageRounds()
        self._undo("garbage", garbage.close)
        store, created = await self._open_store()
        events = EventBus()
        webhooks = self._webhooks(store, events)
        phones = self._phones(store, events)
        extensions = Extensions()
        documents = self._documents(store, [self._directory, extensions, phones.qualifier, webhooks], phones)
        calling = await self._calling(store, events, phones, documents, extensions)
        registration = await self._registration(store, phones, calling)
        tap = Tap(phones.endpoint)
        hep = self._export(tap)
        await self._load(store, documents, webhooks, phones)
        self._follow_phones(events, phones)
        await self._listen(phones.endpoint)
        await phones.jobs.load()
        ports = Ports(
            *(documents, store.tokens, phones.presence, phones.control, calling.quickcalls, phones.jobs),
            statuses=DeviceStatuses(phones.presence, self._vendors, calling.live.in_call),
            events=events,
            webhooks=webhooks,
            channels=LiveChannels(calling.live),
            cdrs=store.cdrs,
            traces=self._tracer(tap, phones.endpoint, phones.presence),
        )
        api = Api(ports, api_policy(self._settings.api))
        self._take = _taking(store, registration, calling, api)
        url = await self._serve(store, phones, registration, calling, api, hep, garbage.look)
        self._undo("listeners", events.close)
        garbage.begin()
        calling.media.warm_up()  # only now: who restarts waits for the listeners, not for the first call's worker
        if created is not None:
            announce(created, url)

    async def stop(self) -> None:
        """Take everything down, in the reverse order of its start: the API first, the store last."""
        await run_stages(reversed(self._stages))

    async def reload(self) -> None:
        """Read configuration, certificate, key and vendor file anew, and take what RELOADED names.

        What is wrong with them is logged, and everything stays as it was.
        """
        try:
            fresh = self._reread()
            vendors = load_vendors(fresh.vendors.file)
            if self._endpoint is not None:
                self._endpoint.reload(endpoint_policy(fresh))
                _tell_certificate(self._endpoint)
        except (ConfigError, OSError) as error:
            log.error("config.refused", reason=str(error))  # noqa: TRY400 - the operator's fault, told in full
            return
        self._vendors.become(vendors)
        self._take(fresh)
        LEVELS.set(fresh.log.level, fresh.log.levels)
        standing = [key for key in changed_keys(self._settings, fresh) if key not in RELOADED]
        log.info("config.reloaded")
        if standing:
            log.warning("config.needs_restart", keys=standing)

    async def check(self) -> Mapping[str, str]:
        """Return what does not work, with a reason each."""
        return await self._vitals.check() if self._vitals else {}

    def _undo(self, name: str, close: Callable[[], Awaitable[None]]) -> None:
        self._stages.append(Stage(name, STOP_LIMIT, close))

    def status(self) -> str:
        """Return one line: phones, calls, version."""
        phones = self._presence.count(None) if self._presence else 0
        calls = len(self._calls) if self._calls else 0
        return f"{phones} contacts, {calls} calls, version {release()}"

    async def _open_store(self) -> tuple[Store, NewAccount | None]:
        """Return the store, and the first account where it had none."""
        path = Path(self._settings.store.path)
        self._undo("database", Occupancy(path).release)
        store = await Store.open(path, token_ttl=self._settings.api.token_ttl)
        self._undo("store", store.close)
        return store, await bootstrap(store, self._settings)

    def _phones(self, store: Store, events: EventBus) -> Phones:
        """Make what knows the phones and sends them requests."""
        sip = self._settings.sip
        dispatcher = Dispatcher()
        endpoint = self._endpoint = Endpoint(dispatcher, endpoint_policy(self._settings))
        self._undo("sip", endpoint.close)
        presence = self._presence = Presence(store.bindings, self._directory, flow_grace=sip.flow_grace)
        self._undo("presence", presence.close)
        deliveries = Deliveries(store.deliveries, window=self._settings.sync.reboot_window, events=events)
        self._undo("deliveries", deliveries.close)
        presence.subscribe(deliveries.happened)
        control = DeviceControl(endpoint, presence, self._directory, self._vendors, deliveries)
        self._undo("control", control.close)
        jobs = SyncJobs(control, deliveries, store, events=events)
        self._undo("sync jobs", jobs.close)
        qualifier = Qualifier(endpoint, presence, self._directory, self._vendors, sip.qualify_interval)
        self._undo("qualify", qualifier.close)
        presence.subscribe(qualifier.happened, Happening.REGISTERED)
        return Phones(dispatcher, endpoint, presence, deliveries, control, jobs, qualifier)

    def _documents(self, store: Store, listeners: Sequence[DocumentListener], phones: Phones) -> Provisioning:
        documents = Provisioning(store.documents, listeners=listeners, flusher=phones.control)
        self._undo("flushes", documents.close)
        return documents

    async def _calling(
        self, store: Store, events: EventBus, phones: Phones, documents: Provisioning, extensions: Extensions
    ) -> Calling:
        """Make what places calls; its media workers are started later."""
        settings, endpoint = self._settings, phones.endpoint
        store.cdrs.days = settings.quickcall.cdr_retention
        media = await self._media(settings.media)
        live = self._calls = LiveCalls(endpoint, events, most=settings.quickcall.max_calls, keep=store.cdrs.keep)
        self._undo("calls", live.close)
        targets = Targets(endpoint, phones.presence, self._directory, self._vendors, documents)
        dialplan = Dialplan(endpoint, targets, self._directory, extensions, documents, settings.quickcall)
        modes = MediaModes(endpoint, media, settings.media.address)
        limits = CallLimits(probe=settings.quickcall.probe_interval)
        return Calling(media, live, Quickcalls(live, modes, targets, dialplan, limits))

    async def _registration(self, store: Store, phones: Phones, calling: Calling) -> Registration:
        """Make what answers REGISTER, and let requests in to all whom they may be for."""
        registration = Registration(
            *(phones.endpoint, self._directory, phones.presence, registration_policy(self._settings.sip)),
            vendors=self._vendors,
            signer=NonceSigner(await store.values.get_or_create(NONCE_KEY, _new_key), NONCE_LIFETIME),
            wall=time.time,
        )
        dispatcher = phones.dispatcher
        dispatcher.registrar, dispatcher.dialogs, dispatcher.presence = registration, calling.live, phones.presence
        return registration

    async def _load(self, store: Store, documents: Provisioning, webhooks: Webhooks, phones: Phones) -> None:
        """Take up what an earlier process left."""
        with quick_switching():
            await documents.load()
            await self._directory.load(store.documents)
            phones.qualifier.load()
            await webhooks.load()
            await phones.deliveries.load()
            bindings = await phones.presence.load()
        log.info("table.loaded", bindings=bindings, devices=len(self._directory))

    def _follow_phones(self, events: EventBus, phones: Phones) -> None:
        """Tell what happens from now on: what was loaded is nothing new."""
        presence = phones.presence
        presence.subscribe(DeviceEvents(events, presence, self._directory, self._vendors).happened, *NAMES)
        notices = OverwriteNotices(phones.endpoint, presence, self._directory)
        self._undo("notices", notices.close)
        presence.subscribe(notices.happened, Happening.REGISTERED)

    def _tracer(self, tap: Tap, endpoint: Endpoint, presence: Presence) -> Tracer:
        realm = self._settings.sip.default_realm
        return Tracer(tap, self._directory, presence, is_own=endpoint.is_own, default_realm=realm)

    def _export(self, tap: Tap) -> HepSender | None:
        """Send all messages to a Homer where one is configured."""
        hep = self._settings.hep
        if not hep.server:
            return None
        host, _, port = hep.server.rpartition(":")
        sender = HepSender(host.strip("[]"), int(port), capture_id=hep.capture_id, password=hep.password)
        sender.start()
        tap.attach(sender)
        self._undo("hep", sender.close)
        return sender

    def _webhooks(self, store: Store, events: EventBus) -> Webhooks:
        """Make what tells webhooks; it ends after everything that may have something to tell."""
        settings = self._settings.webhooks
        client = WebhookClient(timeout=settings.timeout, judge=anywhere if settings.allow_local else out_of_bounds)
        self._undo("webhook client", client.close)
        webhooks = Webhooks(store.outbox, client, keep=settings.keep)
        self._undo("webhooks", webhooks.close)
        events.watch(webhooks.happened)
        return webhooks

    async def _media(self, settings: MediaSettings) -> MediaSupervisor:
        """Make what gives calls their media workers; it ends after the last call."""
        policy = MediaPolicy(settings.workers, settings.max_calls, settings.ports, settings.ringback)
        media = MediaSupervisor(policy)
        self._undo("media", media.close)
        await media.start()
        return media

    async def _listen(self, endpoint: Endpoint) -> None:
        for listener in self._settings.sip.listen:
            transport = Transport[listener.transport.name]
            bound = await endpoint.listen(transport, Address(listener.host, listener.port))
            log.info("sip.listening", transport=transport.value, address=str(bound))
        _tell_certificate(endpoint)

    async def _serve(
        self,
        store: Store,
        phones: Phones,
        registration: Registration,
        calling: Calling,
        api: Api,
        hep: HepSender | None,
        while_busy: Callable[[], None],
    ) -> str:
        """Serve the API, and what monitoring asks, and return the API's URL."""
        watch = LoopWatch(while_busy)
        self._undo("loop watch", watch.close)
        vitals = self._vitals = Vitals(phones.endpoint, store.values)
        self._undo("vitals", vitals.close)
        requests = RequestFigures()
        parts = Parts(
            *(version("roost"), phones.endpoint, phones.presence, registration, calling.live, store, calling.media),
            *(watch, requests, api, hep),
        )
        return await self._serve_http(api, Health(Metrics(parts), vitals), requests)

    async def _serve_http(self, api: Api, health: Health, requests: RequestFigures) -> str:
        for listen in self._settings.metrics.listen:
            await self._serve_at("metrics.listening", Front(health.pages()).handle, listen)
        front = Front(health.local_pages(), api.handle, requests)
        bound = await self._serve_at("api.listening", front.handle, self._settings.api.listen)
        return f"http://{bound}"

    async def _serve_at(self, event: str, handler: Handler, listen: HostPort) -> Address:
        runner = web.ServerRunner(make_server(handler), shutdown_timeout=STOP_LIMIT / 2)
        await runner.setup()
        self._undo(event.partition(".")[0], runner.cleanup)
        site = web.TCPSite(runner, listen.host, listen.port)
        await site.start()
        bound = Address(*runner.addresses[0][:2])
        log.info(event, address=str(bound))
        return bound


def _taking(store: Store, registration: Registration, calling: Calling, api: Api) -> Callable[[Settings], None]:
    """Return what gives new settings to the parts that take them while they run."""

    def take(fresh: Settings) -> None:
        registration.reload(registration_policy(fresh.sip))
        api.reload(api_policy(fresh.api))
        calling.live.most = fresh.quickcall.max_calls
        calling.media.max_calls = fresh.media.max_calls
        store.cdrs.days = fresh.quickcall.cdr_retention

    return take


def _tell_certificate(endpoint: Endpoint) -> None:
    expires = endpoint.certificate_expires()
    if expires is not None:
        days = (expires - datetime.now(timezone.utc)).days
        tell = log.info if days >= EXPIRY_WARNING else log.warning
        tell("tls.certificate", expires=expires.isoformat(), days_left=days)


def _new_key() -> bytes:
    return secrets.token_bytes(32)
