-- Text is kept as its UTF-8 bytes: they sort by code point whatever the database's collation is,
-- and may hold characters that PostgreSQL's own text may not.
CREATE TABLE skills_host_records (
    kind bytea NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    owner bytea NOT NULL,
    expires double precision,
    stream bytea,
    n bigint,
    body bytea NOT NULL,
    PRIMARY KEY (kind, key)
);

CREATE INDEX skills_host_records_by_stream ON skills_host_records (kind, stream, n)
    WHERE stream IS NOT NULL;

CREATE INDEX skills_host_records_by_expiry ON skills_host_records (expires)
    WHERE expires IS NOT NULL;

-- One row, rewritten to see whether the store can be written.
CREATE TABLE skills_host_probe (id integer PRIMARY KEY, at double precision NOT NULL);

-- One unit of changes. Every key is locked first, absent ones too and always in the same order; then
-- every expectation is checked, and only then is anything changed. A failed one raises SH001 with
-- the change's place as its message.
CREATE FUNCTION skills_host_write(
    ops text[], kinds bytea[], keys bytea[], bodies bytea[], expectations bigint[],
    owners bytea[], expiries double precision[], at double precision
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[] := '{}';
    found bigint;
    element bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(place) FROM (
        SELECT DISTINCT hashtextextended(encode(kind, 'hex') || '/' || encode(key, 'hex'), 0) AS place
        FROM unnest(kinds, keys) AS named (kind, key) ORDER BY place
    ) AS places;
    FOR i IN 1 .. cardinality(ops) LOOP
        found := NULL;
        IF ops[i] = 'append' THEN
            SELECT r.n INTO found FROM skills_host_records r
                WHERE r.kind = kinds[i] AND r.stream = keys[i] AND (r.expires IS NULL OR r.expires > at)
                ORDER BY r.n DESC LIMIT 1;
        ELSE
            SELECT r.version INTO found FROM skills_host_records r
                WHERE r.kind = kinds[i] AND r.key = keys[i] AND (r.expires IS NULL OR r.expires > at);
        END IF;
        found := coalesce(found, 0);
        IF expectations[i] IS NOT NULL AND expectations[i] <> found THEN
            RAISE EXCEPTION USING ERRCODE = 'SH001', MESSAGE = (i - 1)::text;
        END IF;
        numbers := numbers || CASE WHEN ops[i] = 'delete' THEN 0 ELSE found + 1 END;
    END LOOP;
    FOR i IN 1 .. cardinality(ops) LOOP
        IF ops[i] = 'delete' THEN
            DELETE FROM skills_host_records r WHERE r.kind = kinds[i] AND r.key = keys[i];
        ELSIF ops[i] = 'append' THEN
            element := keys[i] || '/'::bytea || convert_to(lpad(numbers[i]::text, 12, '0'), 'UTF8');
            INSERT INTO skills_host_records (kind, key, version, owner, expires, stream, n, body)
                VALUES (kinds[i], element, 1, owners[i], expiries[i], keys[i], numbers[i], bodies[i])
                ON CONFLICT (kind, key) DO UPDATE SET version = 1, owner = excluded.owner,
                    expires = excluded.expires, stream = excluded.stream, n = excluded.n,
                    body = excluded.body;
        ELSE
            INSERT INTO skills_host_records (kind, key, version, owner, expires, body)
                VALUES (kinds[i], keys[i], numbers[i], owners[i], expiries[i], bodies[i])
                ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version,
                    owner = excluded.owner, expires = excluded.expires, body = excluded.body;
        END IF;
    END LOOP;
    RETURN numbers;
END $$;
