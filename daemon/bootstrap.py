"""The first start: an empty database gets a master account, and its owner is told how to reach it.

Rule: the API key is printed, once, and never logged; where standard output is the journal, it is not even printed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

from daemon.store import MasterExists

if TYPE_CHECKING:
    from config.settings import Settings
    from daemon.store import NewAccount, Store

log = structlog.get_logger(__name__)

MASTER_NAME = "master"
MASTER_REALM = "roost.internal"
"""Where `sip.default_realm` says nothing. `.internal` is reserved for private use, so it never meets a real domain."""

ANNOUNCEMENT = """\

  The database was empty, so a master account was made. This is shown once:

    account id  {account_id}
    realm       {realm}
    API key     {api_key}

  A token for the API:

    curl -X PUT {url}/v2/api_auth -H 'Content-Type: application/json' -d '{{"data":{{"api_key":"{api_key}"}}}}'

"""


async def bootstrap(store: Store, settings: Settings) -> NewAccount | None:
    """Make the master account if there is none, and return it."""
    realm = settings.sip.default_realm or MASTER_REALM
    try:
        account = await store.create_master(MASTER_NAME, realm)
    except MasterExists:
        return None
    log.info("account.created", account_id=account.account_id, realm=account.realm)
    return account


def announce(account: NewAccount, url: str, stream: TextIO | None = None) -> None:
    """Print what the owner needs of the account; `url` is where the API listens, without a path."""
    stream = stream or sys.stdout
    if _is_journal(stream, os.environ.get("JOURNAL_STREAM", "")):
        log.info("account.key_not_shown", hint=f"roost token create --account {account.account_id}")
        return
    stream.write(
        ANNOUNCEMENT.format(account_id=account.account_id, realm=account.realm, api_key=account.api_key, url=url)
    )
    stream.flush()


def _is_journal(stream: TextIO, journal: str) -> bool:
    """Return whether the stream is the one systemd names in $JOURNAL_STREAM, as `device:inode`."""
    if not journal:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return journal == f"{status.st_dev}:{status.st_ino}"
