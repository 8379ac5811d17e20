// Checks `capture-pipeline mcp` with the client of npm's @modelcontextprotocol/sdk: JavaScript rounds numbers above 2^53, and its client compares results with
// schemas.
//
//     mcp_client.mjs COMMAND DIRECTORY     DIRECTORY: the journals that the examples `sample` and `timelines` have written
//
// Licence: MIT OR Apache-2.0.

import { execFileSync } from "node:child_process";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [command, directory] = process.argv.slice(2);
const deadline = { timeout: 60_000 };
let passed = 0;
let failed = 0;

function check(what, good, shown) {
  good ? passed++ : failed++;
  console.log(`${good ? "ok    " : "FAILED"}  ${what}${good ? "" : `: ${JSON.stringify(shown)?.slice(0, 2000)}`}`);
}

const client = new Client({ name: "test", version: "1" });
await client.connect(new StdioClientTransport({ command, args: ["mcp", `${directory}/journal`] }), deadline);

const { tools } = await client.listTools({}, deadline);
check("JavaScript: seven tools", tools.length === 7, tools);

// The identities are compared as texts: the command's numbers are not read as numbers.
const printed = execFileSync(command, ["cat", `${directory}/journal`, "--json"], { encoding: "utf8", ...deadline });
const identity = /"generation":"([0-9a-f]+)","ring_id":"?(\d+)"?,"sequence":"?(\d+)"?,.*?"correlation_id":"?(\d+)"?,/;
const expected = printed.trim().split("\n").map((line) => line.match(identity).slice(1).join(" "));
const page = await client.callTool({ name: "query", arguments: { limit: 10_000 } }, undefined, deadline);
const { events } = JSON.parse(page.content[0].text);
const got = events.map((event) => [event.generation, event.ring_id, event.sequence, event.correlation_id].join(" "));
check(`JavaScript: the ids of ${expected.length} events are exact`, JSON.stringify(got) === JSON.stringify(expected), [got.slice(0, 3), expected.slice(0, 3)]);
check("JavaScript: one of them is above 2^53", got.some((ids) => ids.split(" ").slice(1).some((id) => BigInt(id) > 2n ** 53n)), got);

const refused = await client.callTool({ name: "query", arguments: { wher: "kind = 1" } }, undefined, deadline);
check("JavaScript: a failure is a text", refused.isError === true && !("structuredContent" in refused) && refused.content[0].text.includes("`wher`"), refused);
const { resources } = await client.listResources({}, deadline);
const read = await client.readResource({ uri: resources[0].uri }, deadline);
check("JavaScript: the kinds", JSON.parse(read.contents[0].text).kinds.some((kind) => kind.name === "sample"), read);
await client.close();
console.log(`MCP in JavaScript: ${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
