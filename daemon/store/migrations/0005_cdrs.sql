-- The legs of calls that have ended. `number` grows with the time of their end; times are Unix seconds; `leg` is JSON.
CREATE TABLE cdrs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL NOT NULL,
    leg BLOB NOT NULL
);

CREATE UNIQUE INDEX cdrs_by_id ON cdrs (account_id, id);
CREATE INDEX cdrs_of ON cdrs (account_id, number);
CREATE INDEX cdrs_ended ON cdrs (ended);
