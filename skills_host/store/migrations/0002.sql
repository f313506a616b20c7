-- Work: a record may be claimed from `due` on.
ALTER TABLE records ADD COLUMN due REAL;

CREATE INDEX records_by_due ON records (kind, due) WHERE due IS NOT NULL;
