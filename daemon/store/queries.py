"""The SQL that reads documents. Each of these uses an index; `tests/test_store_plans.py` reads their query plans."""

from __future__ import annotations

GET = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND id = :id AND kind = :kind AND deleted = 0
"""

PAGE = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND kind = :kind AND deleted = 0 AND id >= :start_key
ORDER BY id LIMIT :limit
"""

PAGE_OF_USER = """
SELECT kind, d.account_id, id, revision, created, modified, data, private
FROM device_users u JOIN documents d ON d.account_id = u.account_id AND d.id = u.device_id
WHERE u.account_id = :account_id AND u.user_id = :owner_id AND u.device_id >= :start_key
ORDER BY u.device_id LIMIT :limit
"""

OF_KINDS = """
SELECT d.kind, d.account_id, d.id, d.revision, d.created, d.modified, d.data, d.private
FROM documents a CROSS JOIN documents d ON d.account_id = a.id
WHERE a.parent_id IS NOT NULL AND d.deleted = 0 AND d.kind IN (SELECT value FROM json_each(:kinds))
"""
"""Not of deleted accounts, for they hold nothing. The kinds are found without a look at the devices, which are many."""

OF_ACCOUNT = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND deleted = 0
"""

CHILDREN = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE parent_id = :parent_id ORDER BY id
"""

DESCENDANTS = """
WITH RECURSIVE below (id) AS (
    SELECT id FROM documents WHERE parent_id = :parent_id
    UNION
    SELECT documents.id FROM below JOIN documents ON documents.parent_id = below.id
)
SELECT kind, account_id, d.id, revision, created, modified, data, private
FROM below JOIN documents d ON d.account_id = below.id AND d.id = below.id
ORDER BY d.id
"""

BY_REALM = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents WHERE realm = :realm
"""

BY_NAME = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE name_key = :name_key ORDER BY id
"""

BY_MD5 = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND md5_digest = :digest ORDER BY id
"""

BY_SHA1 = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND sha1_digest = :digest ORDER BY id
"""

BY_API_KEY = """
SELECT kind, d.account_id, id, revision, created, modified, data, private, k.api_key
FROM api_keys k JOIN documents d ON d.account_id = k.account_id AND d.id = k.account_id
WHERE k.digest = :digest AND d.deleted = 0
"""

TAKEN = """
SELECT id, deleted FROM documents WHERE account_id = :account_id AND id IN (:id, :account_id)
"""

REVISIONS = """
SELECT id, kind, revision, created, deleted FROM documents
WHERE account_id = :account_id AND id IN (SELECT value FROM json_each(:ids))
"""

BY_SIP_USERNAME = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND sip_username = :name AND kind = 'device' LIMIT 2
"""

BY_LOGIN = """
SELECT kind, account_id, id, revision, created, modified, data, private FROM documents
WHERE account_id = :account_id AND login = :name
"""

DEVICE_CONFLICTS = """
SELECT 'mac_address' AS rule FROM documents
WHERE account_id = :account_id AND mac = :mac AND id <> :id
UNION
SELECT 'sip.ip' FROM documents
WHERE sip_ip = :sip_ip AND NOT (account_id = :account_id AND id = :id)
UNION
SELECT 'mobile.mdn' FROM documents
WHERE mdn = :mdn AND NOT (account_id = :account_id AND id = :id)
UNION
SELECT 'sip.username' FROM documents
WHERE :sip_method = 'password' AND account_id = :account_id AND sip_username = :sip_username AND id <> :id
UNION
SELECT 'sip.username' FROM documents
WHERE :sip_method = 'password' AND sip_username = :sip_username AND NOT (account_id = :account_id AND id = :id)
    AND sip_realm = ifnull(
        :sip_realm, (SELECT realm FROM documents WHERE account_id = :account_id AND id = :account_id)
    )
UNION
SELECT 'sip.username' FROM documents a JOIN documents d ON d.account_id = a.account_id
WHERE :sip_method = 'password' AND a.realm = :sip_realm AND d.sip_username = :sip_username AND d.sip_realm IS NULL
    AND NOT (d.account_id = :account_id AND d.id = :id)
"""
"""The AOR of a device, its username in its own realm or else its account's, is unique in the whole system."""

BATCH_CONFLICTS = """
SELECT 1 FROM json_each(:ids) AS written CROSS JOIN documents d ON d.account_id = :account_id AND d.id = written.value
WHERE d.sip_method = 'password' AND d.sip_username IS NOT NULL AND (
    EXISTS (
        SELECT 1 FROM documents o
        WHERE o.account_id = d.account_id AND o.sip_username = d.sip_username AND o.id <> d.id
    ) OR EXISTS (
        SELECT 1 FROM documents o
        WHERE o.sip_realm = ifnull(d.sip_realm, :realm) AND o.sip_username = d.sip_username
            AND o.sip_method = 'password' AND NOT (o.account_id = d.account_id AND o.id = d.id)
    ) OR EXISTS (
        SELECT 1 FROM documents a JOIN documents o ON o.account_id = a.account_id
        WHERE a.realm = d.sip_realm AND o.sip_username = d.sip_username AND o.sip_realm IS NULL
            AND NOT (o.account_id = d.account_id AND o.id = d.id)
    )
) LIMIT 1
"""
"""Whether devices that were just written break what no UNIQUE index holds; the same rules for many at once.

CROSS JOIN has SQLite begin with those that were written, however many others there are.
"""

USER_CONFLICTS = """
SELECT 'username' AS rule FROM documents WHERE account_id = :account_id AND login = :login AND id <> :id
UNION
SELECT 'hotdesk.id' FROM documents WHERE account_id = :account_id AND hotdesk_id = :hotdesk_id AND id <> :id
"""

ACCOUNT_CONFLICTS = """
SELECT 'realm' AS rule FROM documents WHERE realm = :realm AND id <> :id
"""
