-- Accounts, users and devices. The columns after `private` are taken from the JSON when it is written, for the indexes;
-- they are NULL in the kinds that lack them and in deleted documents, whose ids stay taken.
CREATE TABLE documents (
    account_id TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('account', 'user', 'device')),
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
-- A device known by its address may share the username of another one; one that authenticates may not.
CREATE UNIQUE INDEX device_username ON documents (account_id, sip_username) WHERE sip_method = 'password';
CREATE UNIQUE INDEX device_aor ON documents (sip_realm, sip_username)
    WHERE sip_method = 'password' AND sip_realm IS NOT NULL;
CREATE INDEX document_username ON documents (account_id, sip_username) WHERE sip_username IS NOT NULL;
CREATE INDEX document_aor ON documents (sip_realm, sip_username) WHERE sip_realm IS NOT NULL;

-- The users of a device: its owner and those hotdesked to it.
CREATE TABLE device_users (
    account_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    PRIMARY KEY (account_id, user_id, device_id),
    FOREIGN KEY (account_id, device_id) REFERENCES documents (account_id, id)
) WITHOUT ROWID;

CREATE INDEX device_users_of ON device_users (account_id, device_id);

CREATE TABLE api_keys (
    account_id TEXT PRIMARY KEY,
    api_key TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE
) WITHOUT ROWID;

CREATE TABLE tokens (
    digest BLOB PRIMARY KEY,
    account_id TEXT NOT NULL,
    owner_id TEXT,
    method TEXT NOT NULL,
    expires_at INTEGER
) WITHOUT ROWID;

CREATE INDEX tokens_of ON tokens (account_id, owner_id);
CREATE INDEX tokens_by_end ON tokens (expires_at) WHERE expires_at IS NOT NULL;
