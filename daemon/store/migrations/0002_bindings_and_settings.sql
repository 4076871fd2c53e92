-- The location service. Times are Unix seconds; `instance` is '' and `reg_id` 0 where the phone sent none. Text that is
-- not ASCII is held as a BLOB, since phones send bytes that are not UTF-8. A connection does not outlive the process.
CREATE TABLE bindings (
    aor TEXT NOT NULL,
    contact TEXT NOT NULL,
    instance TEXT NOT NULL,
    reg_id INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    transport TEXT NOT NULL,
    local_host TEXT NOT NULL,
    local_port INTEGER NOT NULL,
    remote_host TEXT NOT NULL,
    remote_port INTEGER NOT NULL,
    path TEXT NOT NULL,
    q REAL NOT NULL,
    call_id TEXT NOT NULL,
    cseq INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    granted INTEGER NOT NULL,
    first_registered REAL NOT NULL,
    registered_at REAL NOT NULL,
    user_agent TEXT NOT NULL,
    PRIMARY KEY (aor, contact, instance, reg_id)
) WITHOUT ROWID;

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
