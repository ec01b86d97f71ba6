-- The log of one shard. `log` has one row: which log this is, who may write, and the newest position.
CREATE TABLE IF NOT EXISTS log (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    format   INTEGER NOT NULL,
    lineage  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    position INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS events (
    position       INTEGER PRIMARY KEY,
    stream         TEXT    NOT NULL,
    version        INTEGER NOT NULL,
    tenant         BLOB    NOT NULL,
    event_type     TEXT    NOT NULL,
    shape          INTEGER NOT NULL,
    data           TEXT    NOT NULL,
    event_id       BLOB    NOT NULL,
    command_id     BLOB    NOT NULL,
    causation_id   BLOB    NOT NULL,
    correlation_id BLOB    NOT NULL,
    actor          TEXT    NOT NULL,
    recorded_at    INTEGER NOT NULL -- microseconds since 1970
);

CREATE UNIQUE INDEX IF NOT EXISTS events_by_stream ON events (stream, version);

CREATE INDEX IF NOT EXISTS events_of_new_tenants ON events (position) WHERE event_type = 'TenantRegistered';

-- What is not of entities: a start from a checkpoint reads these, and few others.
CREATE INDEX IF NOT EXISTS events_of_the_schema ON events (position) WHERE substr(stream, 1, 7) <> 'entity-';

CREATE TRIGGER IF NOT EXISTS events_are_not_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable'); END;

CREATE TRIGGER IF NOT EXISTS events_are_not_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are immutable'); END;

CREATE TABLE IF NOT EXISTS commands (
    issuer     BLOB    NOT NULL,
    command_id BLOB    NOT NULL,
    subject    TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    PRIMARY KEY (issuer, command_id)
) WITHOUT ROWID;
