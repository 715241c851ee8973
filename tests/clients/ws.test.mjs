// npm's ws against the WebSocket of the network layer (tests/http/ws_echo.c, which echoes).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { once } from "node:events";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { createInterface } from "node:readline";

import WebSocket from "ws";

const ECHO = path.join(process.cwd(), "..", "tests", "ws_echo");
const DEADLINE_MS = 20000;

async function startEcho(...args) {
  const child = spawn(ECHO, args, { stdio: ["ignore", "inherit", "pipe"] });
  const log = [];
  const exited = once(child, "exit");
  const address = await new Promise((resolve, reject) => {
    exited.then(([code]) => reject(new Error(`ended with ${code}:\n${log.join("\n")}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      log.push(line);
      const found = /listening addr=(\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  return {
    url: `ws://${address}`,
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
      const [code] = await exited;
      clearTimeout(late);
      const problems = log.filter((line) => /^\S+ error |Sanitizer|runtime error:|Assertion/.test(line));
      if (code !== 0) problems.push(`exit status ${code}`);
      return problems;
    },
  };
}

// A client whose events can be awaited one by one.
class Peer {
  constructor(url, options) {
    this.ws = new WebSocket(url, options);
    this.queue = [];
    this.waiting = [];
    const push = (event) => (this.waiting.length ? this.waiting.shift()(event) : this.queue.push(event));
    this.ws.on("message", (data, binary) => push({ kind: "message", data: binary ? data : data.toString() }));
    this.ws.on("pong", (data) => push({ kind: "pong", data: data.toString() }));
    this.ws.on("close", (code, reason) => push({ kind: "close", code, reason: reason.toString() }));
    this.ws.on("error", (error) => push({ kind: "error", error }));
  }

  async open() {
    await once(this.ws, "open");
    return this;
  }

  next() {
    if (this.queue.length) return Promise.resolve(this.queue.shift());
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("nothing comes")), DEADLINE_MS);
      this.waiting.push((event) => {
        clearTimeout(late);
        resolve(event);
      });
    });
  }

  async echoes(...messages) {
    for (const m of messages) this.ws.send(m);
    for (const m of messages) assert.deepEqual(await this.next(), { kind: "message", data: m });
  }

  async close(code, reason) {
    this.ws.close(code, reason);
    assert.deepEqual(await this.next(), { kind: "close", code: code ?? 1005, reason: "" });
  }
}

const messages = () => [
  "", "hello", "Grüße aus der Kiste, €100 \u{1f600}", "x".repeat(200000), "{\"a\": 1}, ".repeat(20000),
  Buffer.alloc(0), Buffer.from([0, 255, 128]), randomBytes(500000), Buffer.alloc(1 << 20),
];

describe("ws", { skip: existsSync(ECHO) ? false : `no ${ECHO}: a build without tests` }, () => {
  let echo;

  before(async () => {
    echo = await startEcho();
  });

  after(async () => {
    assert.deepEqual(await echo.stop(), []);
  });

  const deflates = {
    off: false,
    "with ws's settings": true,
    "of everything": { threshold: 0 },
    "with small windows": { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 10 },
    "with the smallest window": { threshold: 0, serverMaxWindowBits: 8 },
    "without context": { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
  };
  for (const [name, perMessageDeflate] of Object.entries(deflates)) {
    test(`echoes, compression ${name}`, async () => {
      const peer = await new Peer(echo.url, { perMessageDeflate }).open();
      assert.equal(peer.ws.extensions.startsWith("permessage-deflate"), perMessageDeflate !== false);
      await peer.echoes(...messages());
      await peer.echoes(...messages());
      await peer.close(1000);
    });
  }

  test("fragments and pings between them", async () => {
    const peer = await new Peer(echo.url).open();
    peer.ws.send("one ", { fin: false });
    peer.ws.ping("now");
    peer.ws.send("mess", { fin: false });
    peer.ws.send("age", { fin: true });
    assert.deepEqual(await peer.next(), { kind: "pong", data: "now" });
    assert.deepEqual(await peer.next(), { kind: "message", data: "one message" });
    await peer.close(4000, "done");
  });

  test("many small messages in order", async () => {
    const peer = await new Peer(echo.url).open();
    await peer.echoes(...Array.from({ length: 5000 }, (_, i) => `message ${i} ${"y".repeat(i % 300)}`));
    await peer.close();
  });

  test("a client that pauses gets everything", async () => {
    const peer = await new Peer(echo.url).open();
    const piece = randomBytes(50000);
    for (let i = 0; i < 200; i++) peer.ws.send(piece);
    peer.ws.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    peer.ws.resume();
    for (let i = 0; i < 200; i++) assert.ok((await peer.next()).data.equals(piece));
    await peer.close(1001);
  });

  test("a message over the limit is refused with 1009", async () => {
    const peer = await new Peer(echo.url, { perMessageDeflate: false }).open();
    peer.ws.send(Buffer.alloc((1 << 20) + 1));
    const event = await peer.next();
    assert.deepEqual([event.kind, event.code], ["close", 1009]);
  });

  test("the server closes with a code and a reason", async () => {
    const peer = await new Peer(`${echo.url}/control`).open();
    peer.ws.send("close 4001 TAKEN_OVER");
    assert.deepEqual(await peer.next(), { kind: "close", code: 4001, reason: "TAKEN_OVER" });
  });

  test("a handshake of another version is refused", async () => {
    const peer = new Peer(echo.url, { protocolVersion: 8 });
    const event = await peer.next();
    assert.equal(event.kind, "error");
    assert.match(event.error.message, /400/);
  });
});
