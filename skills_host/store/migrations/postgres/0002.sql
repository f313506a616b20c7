-- Work: a record may be claimed from `due` on.
ALTER TABLE skills_host_records ADD COLUMN due double precision;

CREATE INDEX skills_host_records_by_due ON skills_host_records (kind, due) WHERE due IS NOT NULL;

-- The number by which a key is locked, whether its record exists or not.
CREATE FUNCTION skills_host_place(kind bytea, key bytea) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended(encode(kind, 'hex') || '/' || encode(key, 'hex'), 0)
$$;

DROP FUNCTION skills_host_write(
    text[], bytea[], bytea[], bytea[], bigint[], bytea[], double precision[], double precision
);

-- One unit of changes. Every key is locked first, absent ones too and always in the same order; then
-- every expectation is checked, and only then is anything changed. A failed one raises SH001 with
-- the change's place as its message.
CREATE FUNCTION skills_host_write(
    ops text[], kinds bytea[], keys bytea[], bodies bytea[], expectations bigint[],
    owners bytea[], expiries double precision[], dues double precision[], at double precision
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[] := '{}';
    found bigint;
    element bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(place) FROM (
        SELECT DISTINCT skills_host_place(kind, key) AS place
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
        numbers := numbers || CASE ops[i] WHEN 'delete' THEN 0 WHEN 'check' THEN found ELSE found + 1 END;
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
        ELSIF ops[i] = 'put' THEN
            INSERT INTO skills_host_records (kind, key, version, owner, expires, due, body)
                VALUES (kinds[i], keys[i], numbers[i], owners[i], expiries[i], dues[i], bodies[i])
                ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version,
                    owner = excluded.owner, expires = excluded.expires, due = excluded.due,
                    body = excluded.body;
        END IF;
    END LOOP;
    RETURN numbers;
END $$;

-- What is due, taken until another time. Whoever writes a record at this moment holds its key: it
-- is left to them. The row is looked at again under the lock.
CREATE FUNCTION skills_host_claim(
    wanted bytea, first bytea, past bytea, until double precision, most bigint, at double precision
) RETURNS SETOF skills_host_records LANGUAGE plpgsql AS $$
DECLARE
    named bytea;
    taken bigint := 0;
BEGIN
    FOR named IN
        SELECT r.key FROM skills_host_records r
            WHERE r.kind = wanted AND r.due <= at AND r.key >= first AND r.key < past
            AND (r.expires IS NULL OR r.expires > at) ORDER BY r.due LIMIT 2 * most
    LOOP
        EXIT WHEN taken >= most;
        CONTINUE WHEN NOT pg_try_advisory_xact_lock(skills_host_place(wanted, named));
        RETURN QUERY UPDATE skills_host_records r SET version = r.version + 1, due = until
            WHERE r.kind = wanted AND r.key = named AND r.due <= at
            AND (r.expires IS NULL OR r.expires > at) RETURNING r.*;
        IF FOUND THEN
            taken := taken + 1;
        END IF;
    END LOOP;
END $$;

-- Leases that are kept until another time: true for each that is still at its version.
CREATE FUNCTION skills_host_renew(
    kinds bytea[], keys bytea[], versions bigint[], until double precision, at double precision
) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    kept boolean[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(place) FROM (
        SELECT DISTINCT skills_host_place(kind, key) AS place
        FROM unnest(kinds, keys) AS named (kind, key) ORDER BY place
    ) AS places;
    FOR i IN 1 .. cardinality(kinds) LOOP
        UPDATE skills_host_records r SET due = until
            WHERE r.kind = kinds[i] AND r.key = keys[i] AND r.version = versions[i]
            AND r.due IS NOT NULL AND (r.expires IS NULL OR r.expires > at);
        kept := kept || FOUND;
    END LOOP;
    RETURN kept;
END $$;
