//! The SQL of the tables and views. SQLite keeps each statement word for word, so a file is checked against these texts.

// The key of an event is its identity (generation, ring id, sequence). The generation is kept once, in `runs`, and its
// small number in each event: as a 64-bit column of its own it would cost nine bytes a row twice, in the table and in the
// key. `id` is the order in which events were stored, by which the oldest are found without an index on time.
pub(super) const TABLES: &str = "
CREATE TABLE runs(
    id INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL UNIQUE,
    pid INTEGER NOT NULL,
    program TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    first_wall_ns INTEGER NOT NULL,
    first_time_ns INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE events(
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    ring_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    correlation_id INTEGER NOT NULL,
    node_id INTEGER NOT NULL,
    weight REAL,
    flags INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE(run, ring_id, sequence)
);
CREATE TABLE kinds(
    kind INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);
CREATE TABLE threads(
    run INTEGER NOT NULL,
    ring_id INTEGER NOT NULL,
    tid INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY(run, ring_id)
) WITHOUT ROWID;
CREATE TABLE arrivals(
    first_id INTEGER PRIMARY KEY,
    wall_ns INTEGER NOT NULL
);
CREATE VIEW events_view AS SELECT
    e.id AS id,
    printf('%016x', r.generation) AS generation,
    CASE WHEN e.ring_id < 0 THEN printf('%llu', e.ring_id) ELSE e.ring_id END AS ring_id,
    CASE WHEN e.sequence < 0 THEN printf('%llu', e.sequence) ELSE e.sequence END AS sequence,
    strftime('%Y-%m-%dT%H:%M:%S', e.wall_ns / 1000000000, 'unixepoch')
        || printf('.%09dZ', e.wall_ns % 1000000000) AS wall_time,
    CASE WHEN e.time_ns < 0 THEN printf('%llu', e.time_ns) ELSE e.time_ns END AS time_ns,
    e.kind AS kind,
    k.name AS kind_name,
    CASE WHEN e.correlation_id < 0 THEN printf('%llu', e.correlation_id) ELSE e.correlation_id END AS correlation_id,
    CASE WHEN e.node_id < 0 THEN printf('%llu', e.node_id) ELSE e.node_id END AS node_id,
    e.weight AS weight,
    e.flags AS flags,
    t.tid AS tid,
    t.name AS thread_name,
    e.writer_id AS writer_id,
    e.attempt AS attempt,
    length(e.payload) AS payload_bytes,
    e.payload AS payload
FROM events e
JOIN runs r ON r.id = e.run
LEFT JOIN kinds k ON k.kind = e.kind
LEFT JOIN threads t ON t.run = e.run AND t.ring_id = e.ring_id;
";

/// Added by version 3. `definitions` has each distinct definition once, in its wire form, and `defined_kinds` says which runs have it. A
/// `layout` is the id of the first definition with the same name and fields.
pub(super) const DEFINITIONS: &str = "
CREATE TABLE definitions(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    layout INTEGER NOT NULL,
    definition BLOB NOT NULL
);
CREATE TABLE defined_kinds(
    run INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    definition INTEGER NOT NULL,
    layout INTEGER NOT NULL,
    PRIMARY KEY(run, kind)
) WITHOUT ROWID;
";

/// Added by version 4.
pub(super) const ATTRIBUTES: &str = "
CREATE TABLE run_attributes(
    run INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY(run, name)
) WITHOUT ROWID;
CREATE VIEW run_attributes_view AS SELECT
    printf('%016x', r.generation) AS generation,
    r.program AS program,
    r.pid AS pid,
    a.name AS name,
    a.value AS value
FROM run_attributes a
JOIN runs r ON r.id = a.run;
";

/// Added by version 2.
pub(super) const CLOCKS: &str = "
CREATE TABLE clocks(
    run INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    ticks INTEGER NOT NULL,
    ticks_hz INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    PRIMARY KEY(run, time_ns)
) WITHOUT ROWID;
";
