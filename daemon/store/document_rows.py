"""How documents are written: the statements, and the values that go into them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from daemon.store.records import text_at, to_json, users_of

if TYPE_CHECKING:
    import sqlite3

    from api.ports import Document

INSERT = """
INSERT INTO documents (
    account_id, id, kind, revision, created, modified, data, private, realm, name_key, parent_id,
    login, hotdesk_id, md5_digest, sha1_digest, mac, sip_username, sip_realm, sip_method, sip_ip, mdn
) VALUES (
    :account_id, :id, :kind, :revision, :created, :modified, :data, :private, :realm, :name_key, :parent_id,
    :login, :hotdesk_id, :md5_digest, :sha1_digest, :mac, :sip_username, :sip_realm, :sip_method, :sip_ip, :mdn
)
"""
UPDATE = """
UPDATE documents SET
    revision = :revision, modified = :modified, deleted = :deleted, data = :data, private = :private,
    realm = :realm, name_key = :name_key, parent_id = :parent_id,
    login = :login, hotdesk_id = :hotdesk_id, md5_digest = :md5_digest, sha1_digest = :sha1_digest,
    mac = :mac, sip_username = :sip_username, sip_realm = :sip_realm, sip_method = :sip_method, sip_ip = :sip_ip,
    mdn = :mdn
WHERE account_id = :account_id AND id = :id
"""
LINK = "INSERT INTO device_users (account_id, user_id, device_id) VALUES (?, ?, ?)"
UNLINK = "DELETE FROM device_users WHERE account_id = ? AND device_id = ?"
DROP_TOKENS_OF_USER = "DELETE FROM tokens WHERE account_id = ? AND owner_id = ?"


def link_users(connection: sqlite3.Connection, device: Document) -> None:
    """Note to whom a device belongs."""
    links = [(device.account_id, user_id, device.id) for user_id in sorted(users_of(device.data))]
    if links:
        connection.executemany(LINK, links)


def row_of(document: Document) -> dict[str, object]:
    """Return the columns that every kind of document has."""
    return {
        "account_id": document.account_id,
        "id": document.id,
        "kind": document.kind.value,
        "revision": document.revision,
        "created": document.created,
        "modified": document.modified,
        "data": to_json(document.data),
        "private": to_json(document.private),
    }


def logins_of(user: Document) -> tuple[object, ...]:
    """Return what a user's tokens hang on: with other login hashes, or once disabled, they end."""
    hashes = (text_at(user.private, "pvt_md5_auth"), text_at(user.private, "pvt_sha1_auth"))
    return (*hashes, user.data.get("enabled", True))


def next_revision(revision: str) -> str:
    """Return the revision that comes after this one."""
    return f"{int(revision.partition('-')[0]) + 1}-{secrets.token_hex(16)}"
