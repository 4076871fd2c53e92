"""Check-sync of many devices: those that pass the filters of a listing, at a pace, as a job that can be watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.errors import BadIdentifier
from api.listing import BATCH, FILTERS, Paging, read_page
from api.ports import Kind, PageQuery
from api.routing import Route, under_each
from api.schemas import Schema
from api.sync import read_parameters
from sip.vendor import Mode

if TYPE_CHECKING:
    from api.call import Call
    from api.ports import JsonObject, SyncJob

SYNC_MANY: Final = Schema("sync_many")


async def start_job(call: Call) -> Answer:
    """POST /devices/sync: all that the filters let pass, registered or not when the job begins."""
    values = read_parameters(call, SYNC_MANY, ("mode", "rate"))
    mode, rate = values.get("mode"), values["rate"]
    assert isinstance(rate, int | float)
    job = await call.ports.sync_jobs.start(
        call.account.id,
        await _chosen(call),
        mode=Mode(mode) if isinstance(mode, str) else None,
        rate=float(rate),
        user_id=_user_id(call),
    )
    return Answer(_row(job))


async def list_jobs(call: Call) -> Answer:
    """GET /devices/sync: the account's jobs, the latest first, or those of the user in the path."""
    jobs = await call.ports.sync_jobs.of_account(call.account.id)
    user_id = _user_id(call)
    return Answer([_row(job) for job in jobs if user_id in (None, job.user_id)])


async def read_job(call: Call) -> Answer:
    """GET /devices/sync/{job}."""
    return Answer(_row(await _job(call)))


async def stop_job(call: Call) -> Answer:
    """DELETE /devices/sync/{job}: no more are sent; what was sent stays told."""
    job = await _job(call)
    return Answer(_row(await call.ports.sync_jobs.stop(call.account.id, job.id) or job))


async def _chosen(call: Call) -> list[str]:
    query = PageQuery(Kind.DEVICE, call.account.id, owner_id=_user_id(call))
    device_ids: list[str] = []
    start_key: str | None = ""
    while start_key is not None:
        page = await read_page(call, query, Paging(BATCH, start_key))
        device_ids += (device.id for device in page.documents)
        start_key = page.next_start_key
    return device_ids


async def _job(call: Call) -> SyncJob:
    job = await call.ports.sync_jobs.get(call.account.id, call.params["job_id"])
    if job is None or _user_id(call) not in (None, job.user_id):
        raise BadIdentifier(call.params["job_id"])
    return job


def _user_id(call: Call) -> str | None:
    return call.params.get("user_id")


def _row(job: SyncJob) -> JsonObject:
    row: JsonObject = {
        "id": job.id,
        "user_id": job.user_id,
        "mode": None if job.mode is None else job.mode.value,
        "rate": job.rate,
        "state": job.state,
        "total": job.total,
        "sent": job.total - job.waiting,
        "waiting": job.waiting,
        "pending": job.pending,
        "states": {state.value: count for state, count in job.states.items()},
        "created": job.created,
        "ended": job.ended,
    }
    return {key: value for key, value in row.items() if value is not None}


_BOTH: Final = ("/accounts/{account_id}", "/accounts/{account_id}/users/{user_id}")
_ALL: Final = "/devices/sync"
_ONE: Final = "/devices/sync/{job_id}"

ROUTES: Final[tuple[Route, ...]] = (
    *under_each(
        _BOTH,
        Route(
            "POST",
            _ALL,
            start_job,
            "Sync many devices at a pace",
            body="sync_many",
            answer="sync_job",
            query=("mode", "rate", *FILTERS),
        ),
    ),
    *under_each(_BOTH, Route("GET", _ALL, list_jobs, "List the syncs of many devices", answer="sync_job_rows")),
    *under_each(_BOTH, Route("GET", _ONE, read_job, "Read how far a sync of many is", answer="sync_job")),
    *under_each(_BOTH, Route("DELETE", _ONE, stop_job, "Stop a sync of many devices", answer="sync_job")),
)
