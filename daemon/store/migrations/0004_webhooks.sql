-- Webhooks are documents too. SQLite cannot change a CHECK, so the table is made anew, without one: the kinds are the
-- program's business. `device_users` refers to it and is made anew with it.
CREATE TABLE documents_anew (
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    revision TEXT NOT NULL,
    created INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    data TEXT NOT NULL,
    private TEXT NOT NULL,
    -- accounts
    realm TEXT,
    name_key TEXT,
    parent_id TEXT,
    -- users
    login TEXT,
    hotdesk_id TEXT,
    md5_digest BLOB,
    sha1_digest BLOB,
    -- devices
    mac TEXT,
    sip_username TEXT,
    sip_realm TEXT,
    sip_method TEXT,
    sip_ip TEXT,
    PRIMARY KEY (account_id, id)
);
INSERT INTO documents_anew SELECT
    account_id, id, kind, revision, created, modified, deleted, data, private, realm, name_key, parent_id,
    login, hotdesk_id, md5_digest, sha1_digest, mac, sip_username, sip_realm, sip_method, sip_ip
FROM documents;

CREATE TABLE device_users_anew (
    account_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (account_id, user_id, device_id),
    FOREIGN KEY (account_id, device_id) REFERENCES documents_anew (account_id, id)
) WITHOUT ROWID;
INSERT INTO device_users_anew SELECT account_id, user_id, device_id FROM device_users;

DROP TABLE device_users;
DROP TABLE documents;
ALTER TABLE documents_anew RENAME TO documents;
ALTER TABLE device_users_anew RENAME TO device_users;

CREATE INDEX device_users_of ON device_users (account_id, device_id);
CREATE INDEX documents_by_kind ON documents (account_id, kind, id) WHERE deleted = 0;
CREATE UNIQUE INDEX account_realm ON documents (realm) WHERE realm IS NOT NULL;
CREATE INDEX account_name ON documents (name_key) WHERE name_key IS NOT NULL;
CREATE INDEX account_parent ON documents (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE UNIQUE INDEX user_login ON documents (account_id, login) WHERE login IS NOT NULL;
CREATE UNIQUE INDEX user_hotdesk ON documents (account_id, hotdesk_id) WHERE hotdesk_id IS NOT NULL;
CREATE INDEX user_md5 ON documents (account_id, md5_digest) WHERE md5_digest IS NOT NULL;
CREATE INDEX user_sha1 ON documents (account_id, sha1_digest) WHERE sha1_digest IS NOT NULL;
CREATE UNIQUE INDEX device_mac ON documents (account_id, mac) WHERE mac IS NOT NULL;
CREATE UNIQUE INDEX device_ip ON documents (sip_ip) WHERE sip_ip IS NOT NULL;
CREATE UNIQUE INDEX device_username ON documents (account_id, sip_username) WHERE sip_method = 'password';
CREATE UNIQUE INDEX device_aor ON documents (sip_realm, sip_username)
    WHERE sip_method = 'password' AND sip_realm IS NOT NULL;
CREATE INDEX document_username ON documents (account_id, sip_username) WHERE sip_username IS NOT NULL;
CREATE INDEX document_aor ON documents (sip_realm, sip_username) WHERE sip_realm IS NOT NULL;

-- What webhooks were not told yet. The body is the event as it is; `source` is the account that it happened in.
CREATE TABLE outbox (
    account_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    source TEXT NOT NULL,
    event_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (account_id, webhook_id, event_id, source)
) WITHOUT ROWID;
