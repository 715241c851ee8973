// The SDK as it works in OpenSandbox's Docker mode, where each of its calls arrives through
// /proxy/<the daemon's own port> (contract 5.7, 1.34).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { startDaemon } from "./daemon.mjs";
import { connect, refusedWith, texts, until } from "./stack.mjs";

const TOKEN = "proxy-token-1234";

async function* pieces(data, size) {
  for (let i = 0; i < data.length; i += size) yield data.subarray(i, i + size);
}

async function collect(stream) {
  const out = [];
  for await (const piece of stream) out.push(piece);
  return Buffer.concat(out);
}

function withToken() {
  writeFileSync("proxy-token.json", JSON.stringify({ token: TOKEN }), { mode: 0o600 });
  return ["--config", "proxy-token.json"];
}

for (const [name, flags, headers] of [
  ["without a token", () => [], {}],
  ["with a token", withToken, { "X-EXECD-ACCESS-TOKEN": TOKEN }],
]) {
  describe(`the SDK through the proxy, ${name}`, () => {
    let daemon, box, base;

    before(async () => {
      daemon = await startDaemon(...flags());
      base = `${daemon.url}/proxy/${new URL(daemon.url).port}`;
      box = connect(base, headers);
    });

    after(async () => {
      await box.close();
      assert.deepEqual(await daemon.stop(), []);
    });

    function fresh(name) {
      const top = path.join(daemon.root, name);
      mkdirSync(top);
      return top;
    }

    test("is healthy", async () => {
      assert.equal(await box.health.ping(), true);
    });

    test("commands: output, status, variables, directory", async () => {
      const execution = await box.commands.run("echo out; echo err >&2; echo $VAR; pwd; exit 3", { workingDirectory: "/usr", envs: { VAR: "v €" } });
      assert.equal(execution.exitCode, 3);
      assert.equal(execution.error.value, "3");
      assert.deepEqual(texts(execution.logs.stdout), ["out", "v €", "/usr"]);
      assert.deepEqual(texts(execution.logs.stderr), ["err"]);
      assert.deepEqual(await box.commands.getCommandStatus(execution.id).then((s) => [s.running, s.exitCode]), [false, 3]);
    });

    test("commands: events come when they happen", async () => {
      const begin = Date.now();
      const when = [];
      for await (const event of box.commands.runStream("echo first; sleep 1; echo second")) {
        if (event.type === "stdout") when.push(Date.now() - begin);
      }
      assert.equal(when.length, 2);
      assert.ok(when[0] < 800 && when[1] >= 900, String(when));
    });

    test("commands: in the background, with logs and an interrupt", async () => {
      const execution = await box.commands.run("echo one; sleep 0.2; echo two; sleep 60", { background: true });
      assert.equal(execution.exitCode ?? null, null);
      let [content, cursor] = ["", undefined];
      await until("both lines", async () => {
        const logs = await box.commands.getBackgroundCommandLogs(execution.id, cursor);
        assert.ok(Number.isInteger(logs.cursor) && logs.cursor >= (cursor ?? 0));
        cursor = logs.cursor;
        content += logs.content;
        return content.includes("two");
      });
      assert.equal(content, "one\ntwo\n");
      await box.commands.interrupt(execution.id);
      const status = await until("interrupted", async () => {
        const s = await box.commands.getCommandStatus(execution.id);
        return s.running ? undefined : s;
      });
      assert.match(status.error, /^signal: terminated/);
    });

    test("commands: an interrupt from init", async () => {
      const execution = await box.commands.run("sleep 30", {}, { onInit: (e) => box.commands.interrupt(e.id) });
      assert.equal(execution.exitCode, -1);
    });

    test("commands: ten megabytes of output, every line", async () => {
      let [n, sum] = [0, 0];
      for await (const event of box.commands.runStream("seq -f '%099.0f' 1 100000")) {
        if (event.type !== "stdout") continue;
        n++;
        sum += Number(event.text);
      }
      assert.deepEqual([n, sum], [100000, (100000 * 100001) / 2]);
    });

    test("commands: fifty at once", async () => {
      const runs = await Promise.all(Array.from({ length: 50 }, (_, i) => box.commands.run(`echo ${i}; exit ${i % 3}`)));
      for (const [i, run] of runs.entries()) {
        assert.deepEqual(texts(run.logs.stdout), [String(i)]);
        assert.equal(run.exitCode, i % 3);
      }
    });

    test("errors are those of the daemon", async () => {
      await assert.rejects(() => box.commands.getCommandStatus("fake"), refusedWith(404, "COMMAND_NOT_FOUND"));
      await assert.rejects(() => box.commands.run("true", { workingDirectory: "/nonexistent" }), refusedWith(400, "INVALID_REQUEST_BODY"));
      await assert.rejects(() => box.commands.deleteSession("fake"), refusedWith(404, "CONTEXT_NOT_FOUND"));
      await assert.rejects(() => box.files.readFile("/etc/passwd"), refusedWith(403, "PATH_FORBIDDEN"));
    });

    test("sessions: state, timeout, exit, deletion", async () => {
      const { commands } = box;
      const id = await commands.createSession({ workingDirectory: "/usr" });
      const out = async (command, options) => texts((await commands.runInSession(id, command, options)).logs.stdout);
      await out("export A='x $y'; f() { echo in $PWD; }");
      assert.deepEqual(await out("echo \"$A\"; cd bin; f"), ["x $y", "in /usr/bin"]);
      assert.equal((await commands.runInSession(id, "sleep 30", { timeoutSeconds: 0.2 })).exitCode, -1);
      assert.equal((await commands.runInSession(id, "exit 7")).exitCode, 7);
      assert.deepEqual(await out("f"), ["in /usr/bin"]);
      await commands.deleteSession(id);
      await assert.rejects(() => commands.deleteSession(id), refusedWith(404, "CONTEXT_NOT_FOUND"));
    });

    test("files: every call of the SDK", async () => {
      const { files } = box;
      const top = fresh("files");
      const at = (...names) => path.join(top, ...names);
      await files.createDirectories([{ path: at("a"), mode: 755 }, { path: at("b"), mode: 700 }]);
      await files.writeFiles([{ path: at("a", "one.txt"), data: "hello one\nline 2\n", mode: 644 }, { path: at("a", "two.txt"), data: "a a a" }]);
      const infos = await files.getFileInfo([at("a"), at("a", "one.txt")]);
      assert.deepEqual([infos[at("a")].type, infos[at("a", "one.txt")].size, infos[at("a", "one.txt")].mode], ["directory", 17, 644]);
      assert.equal(await files.readFile(at("a", "one.txt")), "hello one\nline 2\n");
      assert.equal(await files.readFile(at("a", "one.txt"), { range: "bytes=0-4" }), "hello");
      assert.equal(await files.readFile(at("a", "one.txt"), { offset: 2, limit: 1 }), "line 2");
      assert.deepEqual((await files.search({ path: top, pattern: "*.txt" })).map((f) => f.path), [at("a", "one.txt"), at("a", "two.txt")]);
      assert.deepEqual((await files.listDirectory({ path: top })).map((f) => path.basename(f.path)), ["a", "b"]);
      assert.deepEqual(await files.replaceContentsDetailed([{ path: at("a", "two.txt"), oldContent: "a", newContent: "b" }]),
        [{ path: at("a", "two.txt"), replacedCount: 3 }]);
      await files.replaceContents([{ path: at("a", "two.txt"), oldContent: "b b", newContent: "c" }]);
      assert.equal(readFileSync(at("a", "two.txt"), "utf8"), "c b");
      await files.setPermissions([{ path: at("a", "two.txt"), mode: 600 }]);
      assert.equal((await files.getFileInfo([at("a", "two.txt")]))[at("a", "two.txt")].mode, 600);
      await files.moveFiles([{ src: at("a", "two.txt"), dest: at("b", "moved.txt") }]);
      await files.deleteFiles([at("a", "one.txt")]);
      await files.deleteDirectories([at("a")]);
      assert.deepEqual([existsSync(at("a")), existsSync(at("b", "moved.txt"))], [false, true]);
    });

    test("files: names of every kind", async () => {
      const top = fresh("names");
      for (const name of ["with space", "plus+and&", "日本語.txt", "é%41%2Fx", "semi;colon", "a'b", "#hash?", "..dots", "proxy"]) {
        const file = path.join(top, name);
        await box.files.writeFiles([{ path: file, data: name }]);
        assert.equal(await box.files.readFile(file), name);
        assert.equal((await box.files.getFileInfo([file]))[file].size, Buffer.byteLength(name));
      }
    });

    test("files: twenty megabytes there and back", async () => {
      const file = path.join(fresh("large"), "large.bin");
      const data = randomBytes(20 << 20);
      await box.files.writeFiles([{ path: file, data: pieces(data, 1 << 16) }]);
      assert.ok((await collect(box.files.readBytesStream(file))).equals(data));
      assert.ok(Buffer.from(await box.files.readBytes(file, { range: "bytes=-1000" })).equals(data.subarray(-1000)));
    });

    test("what is around the proxy is as the contract says", async () => {
      const ask = (url, more) => fetch(url, { headers, ...more });
      for (const [url, status] of [
        [`${base}/ping`, 200], [`${base}/no/such/route`, 404], [`${daemon.url}/proxy`, 404], [`${daemon.url}/proxy/`, 400],
        [`${base}/command`, 200], [`${daemon.url}/proxy/99999/ping`, 400], [`${daemon.url}/proxy/x/ping`, 400],
      ]) {
        const answer = await ask(url);
        const body = await answer.text();
        assert.equal(answer.status, status, `${url}: ${body}`);
        if (status >= 400) assert.ok(JSON.parse(body).code && JSON.parse(body).message, url);
      }
    });

    test("a dead port is 502, at once", async () => {
      const begin = Date.now();
      const answer = await fetch(`${daemon.url}/proxy/1/`, { headers });
      assert.equal(answer.status, 502);
      assert.ok((await answer.json()).code);
      assert.ok(Date.now() - begin < 3000);
    });
  });
}

describe("through the proxy of a daemon that wants a token", () => {
  let daemon;

  before(async () => {
    daemon = await startDaemon(...withToken());
  });

  after(async () => {
    assert.deepEqual(await daemon.stop(), []);
  });

  test("nobody comes in without it, or with a wrong one", async () => {
    const base = `${daemon.url}/proxy/${new URL(daemon.url).port}`;
    for (const headers of [{}, { "X-EXECD-ACCESS-TOKEN": "wrong" }]) {
      const box = connect(base, headers);
      await assert.rejects(() => box.health.ping(), (e) => e.statusCode === 401);
      await assert.rejects(() => box.commands.run("true"), (e) => e.statusCode === 401);
      await assert.rejects(() => box.commands.createSession(), (e) => e.statusCode === 401);
      await assert.rejects(() => box.files.getFileInfo(["/"]), (e) => e.statusCode === 401);
      await box.close();
    }
  });
});
