-- The mobile number of a device, unique in the whole system (contract 4.3). Where two had the same, the older keeps it.
ALTER TABLE documents ADD COLUMN mdn TEXT;

UPDATE documents SET mdn = json_extract(data, '$.mobile.mdn')
WHERE rowid IN (
    SELECT min(rowid) FROM documents
    WHERE kind = 'device' AND deleted = 0 AND json_extract(data, '$.device_type') = 'mobile'
        AND json_type(data, '$.mobile.mdn') = 'text'
    GROUP BY json_extract(data, '$.mobile.mdn')
);

CREATE UNIQUE INDEX device_mdn ON documents (mdn) WHERE mdn IS NOT NULL;
