"""What a database of allocations says: call sites, sizes, and what was still allocated at the end.

Licence: MIT OR Apache-2.0.
"""

import os
import sqlite3

import symbols

FREE = 4
RESIZES = (3, 10)

VIEW = """
CREATE TABLE IF NOT EXISTS call_sites(
    address INTEGER PRIMARY KEY,
    module TEXT,
    file_offset INTEGER,
    symbol TEXT NOT NULL
);
CREATE VIEW IF NOT EXISTS allocations AS SELECT
    e.id AS id,
    e.time_ns AS time_ns,
    CAST(substr(e.payload, instr(e.payload, x'20') + 1) AS INTEGER) AS thread,
    k.name AS call,
    CAST(e.payload AS INTEGER) AS size,
    e.correlation_id AS address,
    e.node_id AS site,
    s.symbol AS symbol
FROM events e
LEFT JOIN kinds k ON k.kind = e.kind
LEFT JOIN call_sites s ON s.address = e.node_id;
"""


class Site:
    """One place in the program that allocates."""

    def __init__(self):
        self.calls = self.bytes = self.live_bytes = self.live_blocks = 0


class Events:
    """One pass over a database."""

    def __init__(self, ledger):
        self.path = ledger.database
        self.sites = {}
        self.sizes = {}          # power of two -> allocations
        self.rows = self.allocations = self.frees = self.failed = self.bytes = 0
        self.live_bytes = self.live_blocks = 0
        database = sqlite3.connect(self.path)
        try:
            self._read(database)
            self._name(database, symbols.Symbols(ledger.maps))
        finally:
            database.close()

    def _read(self, database):
        # For each address, what happened to it last: (time, size, site), size None for a release. Times decide, not the
        # order of the rows: events of several threads are stored side by side.
        last = {}
        sites, sizes = self.sites, self.sizes
        query = ("SELECT kind, correlation_id, node_id, time_ns, CAST(payload AS INTEGER), "
                 "CASE WHEN kind IN (3, 10) THEN CAST(payload AS TEXT) END FROM events")
        for kind, address, where, time, size, resize in database.execute(query):
            self.rows += 1
            if kind == FREE:
                self.frees += 1
                known = last.get(address)
                if known is None or known[0] <= time:
                    last[address] = (time, None, 0)
                continue
            if resize is not None:
                fields = resize.split()
                if len(fields) == 4 and (address != 0 or size == 0):
                    old, began = int(fields[2]), int(fields[3])
                    known = last.get(old)
                    if known is None or known[0] <= began:
                        last[old] = (began, None, 0)
            if address == 0:
                self.failed += size != 0
                continue
            self.allocations += 1
            self.bytes += size
            site = sites.get(where)
            if site is None:
                site = sites[where] = Site()
            site.calls += 1
            site.bytes += size
            power = size.bit_length()
            sizes[power] = sizes.get(power, 0) + 1
            known = last.get(address)
            if known is None or known[0] <= time:
                last[address] = (time, size, where)
        for _, size, where in last.values():
            if size is not None:
                self.live_blocks += 1
                self.live_bytes += size
                sites[where].live_blocks += 1
                sites[where].live_bytes += size

    def _name(self, database, names):
        """Names the call sites, and keeps the names in the database for queries."""
        self.names = {}
        rows = []
        for (where,) in database.execute("SELECT DISTINCT node_id FROM events").fetchall():
            path, offset, function = names.look_up(where)
            self.names[where] = names.text(where)
            rows.append((where, path, offset, function or self.names[where]))
        database.executescript(VIEW)
        with database:
            database.executemany("INSERT OR REPLACE INTO call_sites VALUES (?, ?, ?, ?)", rows)

    def by_function(self):
        """Call sites summed up by the name of the function that they are in: [(name, Site)]."""
        summed = {}
        for where, site in self.sites.items():
            into = summed.setdefault(self.names[where], Site())
            into.calls += site.calls
            into.bytes += site.bytes
            into.live_bytes += site.live_bytes
            into.live_blocks += site.live_blocks
        return list(summed.items())


def count_rows(ledger):
    """Events in a database."""
    database = sqlite3.connect(ledger.database)
    try:
        return database.execute("SELECT count(*) FROM events").fetchone()[0]
    finally:
        database.close()


def queries(path):
    """Three to try, ready for a shell."""
    path = os.path.relpath(path)
    asked = (
        ("the ten functions that ask for most memory",
         "SELECT symbol, count(*) AS calls, sum(size) AS bytes FROM allocations "
         "WHERE call <> 'free' GROUP BY symbol ORDER BY bytes DESC LIMIT 10"),
        ("the life of one address",
         "SELECT time_ns, call, size, symbol FROM allocations WHERE address = "
         "(SELECT address FROM allocations WHERE call = 'realloc' LIMIT 1) ORDER BY id LIMIT 12"),
        ("calls and bytes by tenth of a second",
         "SELECT (time_ns - (SELECT min(time_ns) FROM events)) / 100000000 AS tenth, count(*) AS calls, "
         "sum(size) AS bytes FROM allocations GROUP BY tenth"),
    )
    return [(what, f'sqlite3 -header -column {path} "{query}"') for what, query in asked]
