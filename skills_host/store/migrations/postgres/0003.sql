-- Units of changes that were asked for at the same time, in one transaction and each for itself:
-- `units` says for each change how many units come before its own, and changes of a unit stand side
-- by side. Every key of all units is locked first, absent ones too and always in the same order.
-- Then each unit in turn is made whole, or, where an expectation of it does not hold, not at all;
-- the number of the change that expected in vain is then -1, and those of the unit's others say
-- nothing. `skills_host_write` stays for processes of the version before.
CREATE FUNCTION skills_host_write_units(
    units integer[], ops text[], kinds bytea[], keys bytea[], bodies bytea[], expectations bigint[],
    owners bytea[], expiries double precision[], dues double precision[], at double precision
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    numbers bigint[] := '{}';
    first integer := 1;
    past integer;
    found bigint;
    fails boolean;
    element bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(place) FROM (
        SELECT DISTINCT skills_host_place(kind, key) AS place
        FROM unnest(kinds, keys) AS named (kind, key) ORDER BY place
    ) AS places;
    WHILE first <= cardinality(units) LOOP
        past := first;
        fails := false;
        WHILE past <= cardinality(units) AND units[past] = units[first] LOOP
            found := NULL;
            IF ops[past] = 'append' THEN
                SELECT r.n INTO found FROM skills_host_records r
                    WHERE r.kind = kinds[past] AND r.stream = keys[past]
                    AND (r.expires IS NULL OR r.expires > at) ORDER BY r.n DESC LIMIT 1;
            ELSE
                SELECT r.version INTO found FROM skills_host_records r
                    WHERE r.kind = kinds[past] AND r.key = keys[past]
                    AND (r.expires IS NULL OR r.expires > at);
            END IF;
            found := coalesce(found, 0);
            IF NOT fails AND expectations[past] <> found THEN
                fails := true;
                found := -1;
            ELSIF ops[past] = 'delete' THEN
                found := 0;
            ELSIF ops[past] <> 'check' THEN
                found := found + 1;
            END IF;
            numbers := numbers || found;
            past := past + 1;
        END LOOP;
        IF NOT fails THEN
            FOR i IN first .. past - 1 LOOP
                IF ops[i] = 'delete' THEN
                    DELETE FROM skills_host_records r WHERE r.kind = kinds[i] AND r.key = keys[i];
                ELSIF ops[i] = 'append' THEN
                    element := keys[i] || '/'::bytea
                        || convert_to(lpad(numbers[i]::text, 12, '0'), 'UTF8');
                    INSERT INTO skills_host_records
                        (kind, key, version, owner, expires, stream, n, body)
                        VALUES (kinds[i], element, 1, owners[i], expiries[i], keys[i], numbers[i],
                            bodies[i])
                        ON CONFLICT (kind, key) DO UPDATE SET version = 1, owner = excluded.owner,
                            expires = excluded.expires, stream = excluded.stream, n = excluded.n,
                            body = excluded.body;
                ELSIF ops[i] = 'put' THEN
                    INSERT INTO skills_host_records (kind, key, version, owner, expires, due, body)
                        VALUES (kinds[i], keys[i], numbers[i], owners[i], expiries[i], dues[i],
                            bodies[i])
                        ON CONFLICT (kind, key) DO UPDATE SET version = excluded.version,
                            owner = excluded.owner, expires = excluded.expires, due = excluded.due,
                            body = excluded.body;
                END IF;
            END LOOP;
        END IF;
        first := past;
    END LOOP;
    RETURN numbers;
END $$;
