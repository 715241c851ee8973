// Shell sessions through the JavaScript SDK as published (contract 6.4, 02c).
import assert from "node:assert/strict";
import { mkdirSync, realpathSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { startDaemon } from "./daemon.mjs";
import { connect, refusedWith, texts } from "./stack.mjs";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe("sandbox.commands sessions", () => {
  let daemon, box, commands;

  before(async () => {
    daemon = await startDaemon();
    box = connect(daemon.url);
    commands = box.commands;
  });

  after(async () => {
    await box.close();
    assert.deepEqual(await daemon.stop(), []);
  });

  const out = async (id, command, options) => texts((await commands.runInSession(id, command, options)).logs.stdout);

  test("e2e 02c: directories, exports, exit 7, two sessions, deleting both", async () => {
    const [one, two] = [await commands.createSession({ workingDirectory: "/tmp" }), await commands.createSession()];
    assert.match(one, UUID);
    assert.notEqual(one, two);
    assert.deepEqual(await out(one, "pwd"), ["/tmp"]);
    assert.deepEqual(await out(one, "pwd", { workingDirectory: "/usr" }), ["/usr"]);
    assert.deepEqual(await out(one, "pwd"), ["/usr"]);
    await commands.runInSession(one, "export E2E=value");
    assert.deepEqual(await out(one, "echo $E2E"), ["value"]);
    assert.deepEqual(await out(two, 'echo "${E2E:-none}"'), ["none"]);

    const failed = await commands.runInSession(one, "echo before; exit 7");
    assert.equal(failed.error.name, "CommandExecError");
    assert.equal(failed.error.value, "7");
    assert.equal(failed.exitCode, 7);
    assert.equal(failed.complete, undefined);
    assert.deepEqual(texts(failed.logs.stdout), ["before"]);
    assert.deepEqual(await out(one, "echo $E2E; pwd"), ["value", "/usr"]);

    await commands.deleteSession(one);
    await commands.deleteSession(two);
    for (const id of [one, two]) {
      await assert.rejects(() => commands.deleteSession(id), refusedWith(404, "CONTEXT_NOT_FOUND"));
      await assert.rejects(() => commands.runInSession(id, "true"), refusedWith(404, "CONTEXT_NOT_FOUND"));
    }
  });

  test("a run is told as a command is: one init, one end, the id of the session", async () => {
    const id = await commands.createSession();
    const seen = { init: [], complete: [], stdout: [], stderr: [], error: [] };
    const handlers = {
      onInit: (e) => void seen.init.push(e), onStdout: (m) => void seen.stdout.push(m), onStderr: (m) => void seen.stderr.push(m),
      onExecutionComplete: (e) => void seen.complete.push(e), onError: (e) => void seen.error.push(e),
    };
    const execution = await commands.runInSession(id, "echo out; echo err >&2", {}, handlers);
    assert.deepEqual(Object.values(seen).map((list) => list.length), [1, 1, 1, 1, 0]);
    assert.equal(execution.id, id);
    assert.equal(seen.init[0].id, id);
    assert.equal(execution.exitCode, 0);
    assert.ok(execution.complete.executionTimeMs >= 0);
    assert.deepEqual([texts(seen.stdout), texts(seen.stderr)], [["out"], ["err"]]);
    assert.ok(seen.stderr.every((m) => m.isError));
    await commands.deleteSession(id);
  });

  test("directories are made, and those of a run must be there", async () => {
    const made = path.join(daemon.root, "made/for it");
    const id = await commands.createSession({ workingDirectory: made });
    assert.deepEqual(await out(id, "pwd -P"), [realpathSync(made)]);
    await assert.rejects(() => commands.runInSession(id, "pwd", { workingDirectory: "/nowhere" }), refusedWith(400, "INVALID_REQUEST_BODY"));
    await assert.rejects(() => commands.createSession({ workingDirectory: "/nowhere/at/all" }), refusedWith(400, "INVALID_REQUEST_BODY"));
    mkdirSync(path.join(made, "below"));
    assert.deepEqual(await out(id, "pwd", { workingDirectory: path.join(made, "below") }), [path.join(made, "below")]);
  });

  test("a shell is alive between runs", async () => {
    const id = await commands.createSession();
    await commands.runInSession(id, "f() { echo \"f says $1\"; }; a=(1 'two words'); umask 027; sleep 100 & job=$!");
    assert.deepEqual(await out(id, "f hello; echo \"${a[1]}\"; umask; kill $job && echo killed"), ["f says hello", "two words", "0027", "killed"]);
    assert.deepEqual(await out(id, "A='$x `y` \"z\"\nnext\t€'"), []);
    await commands.runInSession(id, "exit 1");
    assert.deepEqual(await out(id, 'echo "$A"; f again'), ["$x `y` \"z\"", "next\t€", "f says again"]);
    await commands.deleteSession(id);
  });

  test("a timeout is an error with code -1 and leaves the session", async () => {
    const id = await commands.createSession();
    await commands.runInSession(id, "kept=1");
    const begin = Date.now();
    const execution = await commands.runInSession(id, "sleep 60", { timeoutSeconds: 0.3 });
    assert.ok(Date.now() - begin < 8000);
    assert.equal(execution.exitCode, -1);
    assert.match(execution.error.traceback[0], /^timeout after 300ms/);
    assert.equal(execution.complete, undefined);
    assert.deepEqual(await out(id, "echo $kept"), ["1"]);
  });

  test("an interrupt with the id of init ends the run and leaves the session", async () => {
    const id = await commands.createSession();
    await commands.runInSession(id, "kept=1");
    const execution = await commands.runInSession(id, "sleep 30", {}, { onInit: (e) => commands.interrupt(e.id) });
    assert.equal(execution.exitCode, -1);
    assert.ok(execution.error.name && execution.error.value && execution.error.timestamp);
    assert.deepEqual(await out(id, "echo $kept"), ["1"]);
    await assert.rejects(() => commands.interrupt(id), refusedWith(409, "COMMAND_NOT_RUNNING"));
  });

  test("a delete ends a run", async () => {
    const id = await commands.createSession();
    const begin = Date.now();
    const execution = await commands.runInSession(id, "echo on; sleep 30", {}, { onStdout: () => commands.deleteSession(id) });
    assert.ok(Date.now() - begin < 3000);
    assert.equal(execution.exitCode, -1);
    assert.deepEqual(texts(execution.logs.stdout), ["on"]);
    await assert.rejects(() => commands.deleteSession(id), refusedWith(404, "CONTEXT_NOT_FOUND"));
  });

  test("a run streams while it goes on", async () => {
    const id = await commands.createSession();
    const begin = Date.now();
    let first;
    for await (const event of commands.runInSessionStream(id, "echo first; sleep 1; echo second")) {
      if (event.type === "stdout") first ??= Date.now() - begin;
    }
    assert.ok(first < 800, `the first line took ${first} ms`);
  });

  test("runs of one session follow each other, sessions do not wait for each other", async () => {
    const id = await commands.createSession();
    const runs = await Promise.all(Array.from({ length: 20 }, (_, i) => commands.runInSession(id, `n=$((n + 1)); echo ${i} $n`)));
    assert.deepEqual(runs.map((r) => Number(r.logs.stdout[0].text.split(" ")[1])).sort((a, b) => a - b), runs.map((_, i) => i + 1));
    const many = await Promise.all(Array.from({ length: 20 }, () => commands.createSession()));
    const all = await Promise.all(many.map((one, i) => out(one, `export N=${i}; sleep 0.1; echo $N`)));
    assert.deepEqual(all, many.map((_, i) => [String(i)]));
    await Promise.all(many.map((one) => commands.deleteSession(one)));
  });

  test("the SDK refuses a blank command by itself, the daemon an empty one", async () => {
    const id = await commands.createSession();
    await assert.rejects(() => commands.runInSession(id, "  "), /command cannot be empty/);
    const answer = await fetch(`${daemon.url}/session/${id}/run`, { method: "POST", body: '{"command":""}' });
    assert.equal(answer.status, 400);
  });
});
