-- What became of NOTIFYs to phones. `id` grows with time (microseconds of Unix time); times are Unix seconds. Text that
-- phones choose is held as a BLOB where it is not ASCII, as in `bindings`.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    account_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    job_id TEXT,
    contact TEXT,
    user_agent TEXT NOT NULL,
    vendor TEXT NOT NULL,
    event TEXT NOT NULL,
    sent_at REAL NOT NULL,
    phase TEXT NOT NULL,
    final INTEGER NOT NULL,
    sip_status INTEGER,
    sip_reason TEXT NOT NULL,
    latency REAL,
    -- how the phone is known again
    instance TEXT NOT NULL,
    host TEXT NOT NULL,
    call_id TEXT NOT NULL,
    others TEXT NOT NULL
);

CREATE INDEX deliveries_of ON deliveries (account_id, device_id, id);
CREATE INDEX deliveries_open ON deliveries (id) WHERE final = 0;
CREATE INDEX deliveries_of_job ON deliveries (job_id, phase) WHERE job_id IS NOT NULL;

-- A sync of many devices. Its devices are kept while it runs: `taken` is set before the NOTIFY leaves.
CREATE TABLE sync_jobs (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    user_id TEXT,
    mode TEXT,
    rate REAL NOT NULL,
    total INTEGER NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    ended REAL
);

CREATE INDEX sync_jobs_of ON sync_jobs (account_id, created);
CREATE INDEX sync_jobs_running ON sync_jobs (id) WHERE state = 'running';

CREATE TABLE sync_job_devices (
    job_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, device_id)
) WITHOUT ROWID;

CREATE INDEX sync_job_devices_left ON sync_job_devices (job_id, device_id) WHERE taken = 0;
