"""The daemon's figures as Prometheus reads them. They are read where they are kept, and only when somebody asks."""

from __future__ import annotations

import os
import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from daemon.openfiles import count_open
from daemon.release import is_compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from api.app import Api
    from daemon.calls import LiveCalls
    from daemon.figures import Histogram, RequestFigures
    from daemon.loopwatch import LoopWatch
    from daemon.presence import Presence
    from daemon.registration import Registration
    from daemon.store import Store
    from sip.io.endpoint import Endpoint
    from sip.io.hep import HepSender
    from sip.media.supervisor import MediaSupervisor

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
WORKER_FAULTS: Final = ("start", "warm", "call")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the figures are read from."""

    version: str
    endpoint: Endpoint
    presence: Presence
    registration: Registration
    calls: LiveCalls
    store: Store
    media: MediaSupervisor
    loop: LoopWatch
    requests: RequestFigures
    api: Api
    hep: HepSender | None = None
    """None where nothing is exported."""


class Metrics:
    """A registry of its own, so that two daemons in one process do not meet."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._started = time.time()
        self._open_files = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        self._open_files = await count_open()
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every family (prometheus_client's protocol of a collector)."""
        parts = self._parts
        build = GaugeMetricFamily(
            "roost_build_info", "Always 1; the labels tell which Roost this is.", labels=["version", "compiled"]
        )
        build.add_metric([parts.version, "yes" if is_compiled() else "no"], 1)
        yield build
        yield from self._registrations()
        yield from self._sip()
        yield from self._store()
        yield from self._calls()
        yield from self._media()
        yield _labelled_by(
            ("method", "status"),
            "roost_api_requests",
            "API requests, by method and status.",
            (((method, str(status)), count) for (method, status), count in parts.requests.counts.items()),
        )
        yield _gauge("roost_api_requests_under_way", "API requests without an answer yet.", parts.api.under_way)
        turned_away = parts.api.turned_away
        yield _counter("roost_api_requests_turned_away", "API requests that found no place.", None, turned_away)
        yield _histogram("roost_api_request_duration_seconds", "Time to answer an API request.", parts.requests.seconds)
        yield _histogram(
            "roost_event_loop_lag_seconds", "How late the event loop came to a timer.", parts.loop.lateness
        )
        yield _gauge("roost_event_loop_longest_block_seconds", "Longest block of the last minute.", parts.loop.longest)
        text = "Most processor time of the event loop in one block of the last minute."
        yield _gauge("roost_event_loop_longest_block_cpu_seconds", text, parts.loop.longest_own)
        yield from _process(self._started, self._open_files)

    def _registrations(self) -> Iterator[Metric]:
        registration, presence = self._parts.registration, self._parts.presence
        yield _counter(
            "roost_registrations", "REGISTER requests, by what became of them.", "outcome", registration.outcomes
        )
        yield _histogram(
            "roost_register_duration_seconds",
            "From a REGISTER that changes a binding to its answer, commit included.",
            registration.latency,
        )
        yield _gauge("roost_registrations_waiting", "REGISTER requests without an answer yet.", registration.waiting)
        yield _gauge("roost_bindings", "Contacts that are registered.", presence.count(None))
        reach = {each.value: count for each, count in presence.table.count_reach().items()}
        yield _gauges("roost_bindings_reach", "Contacts, by whether they can be reached.", "reach", reach)

    def _sip(self) -> Iterator[Metric]:
        endpoint = self._parts.endpoint
        transactions = endpoint.transactions
        yield _counter("roost_sip_messages_received", "SIP messages that arrived.", None, endpoint.received)
        yield _counter("roost_sip_messages_dropped", "SIP messages dropped.", "reason", _words(transactions.dropped))
        yield _counter("roost_sip_datagrams_lost", "Datagrams that the kernel had no room for.", None, endpoint.lost)
        yield _gauge("roost_sip_receive_buffer_ratio", "How full the receive buffer is.", endpoint.backlog)
        sides = {"server": transactions.servers, "client": transactions.clients}
        yield _gauges("roost_sip_transactions", "Transactions under way.", "side", sides)
        yield _gauge("roost_sip_connections", "TCP, TLS and WebSocket connections.", endpoint.connections)
        hep = self._parts.hep
        if hep is not None:
            fates = {"sent": hep.sent, "lost": hep.lost}
            yield _counter("roost_hep_packets", "Messages exported by HEP, by what became of them.", "outcome", fates)
        with suppress(OSError):
            expires = endpoint.certificate_expires()
            if expires is not None:
                name = "roost_tls_certificate_expiry_timestamp_seconds"
                yield _gauge(name, "When the listeners' certificate is over.", expires.timestamp())

    def _store(self) -> Iterator[Metric]:
        store = self._parts.store
        queues = {"registrations": store.bindings.waiting, "jobs": store.writer.waiting}
        yield _gauges("roost_store_queue", "What waits to be committed.", "what", queues)
        yield _histogram("roost_store_commit_duration_seconds", "Time a transaction takes.", store.writer.commits)
        yield _counter("roost_store_failures", "Transactions that failed.", None, store.writer.failures)

    def _calls(self) -> Iterator[Metric]:
        calls = self._parts.calls
        yield _gauges("roost_calls", "Calls under way, by state.", "state", calls.count_states())
        yield _counter("roost_calls_ended", "Calls that ended, by outcome.", "outcome", calls.ended)

    def _media(self) -> Iterator[Metric]:
        media = self._parts.media
        workers = {"warm": media.warm, "call": media.calls}
        yield _gauges(
            "roost_media_workers", "Media workers, by what they do: wait for a call, or have one.", "state", workers
        )
        yield _gauge("roost_media_room", "Calls for which media.port_range has ports that are free.", media.room)
        text = "Media workers that did not start, or were lost while they were warm or had a call."
        yield _counter("roost_media_worker_faults", text, "when", {**dict.fromkeys(WORKER_FAULTS, 0), **media.faults})


def _process(started: float, open_files: int) -> Iterator[Metric]:
    """Yield what every exporter tells of its process.

    prometheus_client's own collector reads /proc/stat, which a hardened service does not see (`ProcSubset=pid`).
    """
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - a third of the time of Path.read_text
        resident = int(statm.read().split()[1]) * PAGE
    yield _counter("process_cpu_seconds", "User and system CPU time.", None, time.process_time())
    yield _gauge("process_resident_memory_bytes", "Resident memory.", resident)
    yield _gauge("process_open_fds", "Open file descriptors.", open_files)
    yield _gauge("process_max_fds", "Most file descriptors.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield _gauge("process_start_time_seconds", "Start of the process, in Unix time.", started)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, text: str, label: str | None, values: Mapping[str, int] | float) -> Metric:
    """Return a counter; prometheus_client adds `_total` to its name."""
    if isinstance(values, (int, float)):
        return CounterMetricFamily(name, text, value=values)
    return _labelled_by((label or "",), name, text, (((key,), value) for key, value in values.items()))


def _labelled_by(
    labels: tuple[str, ...], name: str, text: str, values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=list(histogram.cumulative()), sum_value=histogram.total)


def _words(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts under names that a query need not quote."""
    return {key.lower().replace("'", "").replace(" ", "_"): value for key, value in counts.items()}
