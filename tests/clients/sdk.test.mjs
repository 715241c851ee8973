// The JavaScript SDK as published, against the daemon: what OpenSandbox users run is what is tested.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { ConnectionConfig, DefaultAdapterFactory } from "@alibaba-group/opensandbox";
import { CommandsAdapter, HealthAdapter, createExecdClient } from "@alibaba-group/opensandbox/internal";

import { startDaemon } from "./daemon.mjs";

const TOKEN = "sdk-token-1234";

// The stack that Sandbox.connect() would build for this endpoint.
function connect(url, headers = {}) {
  const connectionConfig = new ConnectionConfig({ domain: "unused.invalid", apiKey: "unused", disableMetrics: true });
  const transport = connectionConfig.withTransportIfMissing();
  return {
    ...new DefaultAdapterFactory().createExecdStack({
      connectionConfig: transport,
      execdBaseUrl: url,
      endpointHeaders: headers,
    }),
    close: () => transport.closeTransport(),
  };
}

async function until(what, ask, deadlineMs = 10000) {
  for (const end = Date.now() + deadlineMs; Date.now() < end; ) {
    const value = await ask();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`not within ${deadlineMs} ms: ${what}`);
}

const texts = (messages) => messages.map((m) => m.text);

describe("the SDK's own stack", () => {
  let daemon;
  let box;

  before(async () => {
    daemon = await startDaemon();
    box = connect(daemon.url);
  });

  after(async () => {
    await box.close();
    assert.deepEqual(await daemon.stop(), []);
  });

  test("is healthy", async () => {
    assert.equal(await box.health.ping(), true);
  });

  test("runs a command (e2e 02)", async () => {
    const seen = { init: [], complete: [], stdout: [], error: [] };
    const execution = await box.commands.run("echo 'Hello OpenSandbox E2E'", {}, {
      onInit: (e) => void seen.init.push(e),
      onStdout: (m) => void seen.stdout.push(m),
      onExecutionComplete: (e) => void seen.complete.push(e),
      onError: (e) => void seen.error.push(e),
    });
    assert.ok(execution.id);
    assert.equal(execution.exitCode, 0);
    assert.equal(execution.error, undefined);
    assert.deepEqual(texts(execution.logs.stdout), ["Hello OpenSandbox E2E"]);
    assert.deepEqual(execution.logs.stderr, []);
    assert.ok(execution.complete.executionTimeMs >= 0);
    assert.deepEqual([seen.init.length, seen.complete.length, seen.stdout.length, seen.error.length], [1, 1, 1, 0]);
    assert.equal(seen.init[0].id, execution.id);
    for (const e of [...seen.init, ...seen.complete, ...seen.stdout]) {
      assert.ok(Math.abs(e.timestamp - Date.now()) < 60000);
    }
  });

  test("runs in a directory (e2e 02)", async () => {
    const execution = await box.commands.run("pwd", { workingDirectory: "/tmp" });
    assert.deepEqual(texts(execution.logs.stdout), ["/tmp"]);
  });

  test("passes variables (e2e 02b)", async () => {
    const command = 'echo "${SDK_VAR:-__EMPTY__}"';
    assert.deepEqual(texts((await box.commands.run(command)).logs.stdout), ["__EMPTY__"]);
    const injected = await box.commands.run(command, { envs: { SDK_VAR: "a 'b' $HOME\n€" } });
    assert.deepEqual(texts(injected.logs.stdout), ["a 'b' $HOME", "€"]);
  });

  test("passes users", async (t) => {
    if (process.getuid() !== 0) return t.skip("changing users needs root");
    const execution = await box.commands.run("id -u; id -g", { uid: 65534, gid: 12345, workingDirectory: "/" });
    assert.deepEqual(texts(execution.logs.stdout), ["65534", "12345"]);
  });

  test("tells exit codes and both streams", async () => {
    for (const code of [1, 3, 127, 255]) {
      const execution = await box.commands.run(`echo out; echo err >&2; exit ${code}`);
      assert.equal(execution.exitCode, code);
      assert.equal(execution.complete, undefined);
      assert.equal(execution.error.name, "CommandExecError");
      assert.equal(execution.error.value, String(code));
      assert.deepEqual(texts(execution.logs.stdout), ["out"]);
      assert.deepEqual(texts(execution.logs.stderr), ["err"]);
      assert.ok(execution.logs.stderr.every((m) => m.isError));
    }
  });

  test("tells an unknown program (e2e 02)", async () => {
    const execution = await box.commands.run("nonexistent-command-sdk");
    assert.equal(execution.exitCode, 127);
    assert.match(execution.logs.stderr[0].text, /nonexistent-command-sdk/);
  });

  test("keeps separators that some clients split at", async () => {
    const execution = await box.commands.run("printf 'a\\302\\205b\\342\\200\\250c\\n'");
    assert.deepEqual(texts(execution.logs.stdout), ["a\u0085b\u2028c"]);
  });

  test("streams while the command runs", async () => {
    const begin = Date.now();
    let first;
    for await (const event of box.commands.runStream("echo first; sleep 1; echo second")) {
      if (event.type === "stdout") first ??= Date.now() - begin;
    }
    assert.ok(first < 800, `the first line took ${first} ms`);
  });

  test("a timeout is an error with code -1", async () => {
    const begin = Date.now();
    const execution = await box.commands.run("sleep 60", { timeoutSeconds: 0.3 });
    assert.ok(Date.now() - begin < 10000);
    assert.equal(execution.exitCode, -1);
    assert.match(execution.error.traceback[0], /^timeout after/);
    assert.equal(execution.complete, undefined);
  });

  test("background commands return at once (e2e 02)", async () => {
    const begin = Date.now();
    const execution = await box.commands.run("sleep 30", { background: true });
    assert.ok(Date.now() - begin < 5000);
    assert.equal(execution.exitCode ?? null, null);
    assert.equal((await box.commands.getCommandStatus(execution.id)).running, true);
    await box.commands.interrupt(execution.id);
    const status = await until("interrupted", async () => {
      const s = await box.commands.getCommandStatus(execution.id);
      return s.running ? undefined : s;
    });
    assert.equal(status.exitCode, -1);
    assert.match(status.error, /^signal: terminated/);
  });

  test("status and incremental logs (e2e 02a)", async () => {
    const execution = await box.commands.run("echo log-line-1; sleep 0.3; echo log-line-2; exit 4", { background: true });
    const early = await box.commands.getCommandStatus(execution.id);
    assert.equal(early.id, execution.id);
    assert.ok(early.startedAt instanceof Date);
    let [content, cursor] = ["", undefined];
    await until("both lines", async () => {
      const logs = await box.commands.getBackgroundCommandLogs(execution.id, cursor);
      assert.ok(Number.isInteger(logs.cursor) && logs.cursor >= (cursor ?? 0));
      cursor = logs.cursor;
      content += logs.content;
      return content.includes("log-line-2");
    });
    assert.equal(content, "log-line-1\nlog-line-2\n");
    assert.deepEqual(await box.commands.getBackgroundCommandLogs(execution.id, cursor), { content: "", cursor });
    const status = await until("the end", async () => {
      const s = await box.commands.getCommandStatus(execution.id);
      return s.running ? undefined : s;
    });
    assert.equal(status.exitCode, 4);
    assert.ok(status.finishedAt instanceof Date && status.finishedAt >= status.startedAt);
  });

  test("interrupts a running command (e2e 04)", async () => {
    const begin = Date.now();
    let id;
    const execution = await box.commands.run("sleep 30", {}, {
      onInit: async (e) => {
        id = e.id;
        await box.commands.interrupt(e.id);
      },
    });
    assert.ok(Date.now() - begin < 10000);
    assert.equal(execution.id, id);
    assert.equal(execution.exitCode, -1);
    assert.ok(execution.error.name && execution.error.value && execution.error.timestamp);
    assert.equal((await box.commands.run("echo next")).exitCode, 0);
  });

  test("errors are exceptions with a code and a request id", async () => {
    for (const [what, code] of [
      [() => box.commands.interrupt(`fake-${Date.now()}`), "COMMAND_NOT_FOUND"],
      [() => box.commands.getCommandStatus("fake"), "COMMAND_NOT_FOUND"],
      [() => box.commands.getBackgroundCommandLogs("fake"), "COMMAND_NOT_FOUND"],
      [() => box.commands.run("true", { workingDirectory: "/nonexistent" }), "INVALID_REQUEST_BODY"],
      [() => box.commands.run("true", { timeoutSeconds: -1 }), "INVALID_REQUEST_BODY"],
    ]) {
      await assert.rejects(what, (e) => {
        assert.equal(e.error?.code, code, String(e));
        assert.ok(e.requestId, "no request id");
        return true;
      });
    }
  });

  test("an aborted run leaves the command to its status", async () => {
    const abort = new AbortController();
    let id;
    try {
      // The SDK lets go of the signal once the head of the reply is there, so this may read to the end.
      for await (const event of box.commands.runStream("echo on; sleep 0.5; exit 6", {}, abort.signal)) {
        if (event.type === "init") id = event.text;
        if (event.type === "stdout") abort.abort();
      }
    } catch (e) {
      assert.match(String(e), /abort/i);
    }
    const status = await until("its end", async () => {
      const s = await box.commands.getCommandStatus(id);
      return s.running ? undefined : s;
    });
    assert.equal(status.exitCode, 6);
  });

  test("a hundred runs at once keep their output apart", async () => {
    const runs = await Promise.all(Array.from({ length: 100 }, (_, i) =>
      box.commands.run(`for k in 1 2 3; do echo run-${i}-$k; done; exit ${i % 5}`)));
    for (const [i, execution] of runs.entries()) {
      assert.deepEqual(texts(execution.logs.stdout), [1, 2, 3].map((k) => `run-${i}-${k}`));
      assert.equal(execution.exitCode, i % 5);
    }
    assert.equal(new Set(runs.map((r) => r.id)).size, 100);
  });

  test("many runs in a row share their connection", async () => {
    for (let i = 0; i < 50; i++) {
      assert.equal((await box.commands.run("true")).exitCode, 0);
    }
  });
});

describe("with a token", () => {
  let daemon;

  before(async () => {
    daemon = await startDaemon("--config", configFile());
  });

  after(async () => {
    assert.deepEqual(await daemon.stop(), []);
  });

  function configFile() {
    writeFileSync("token.json", JSON.stringify({ token: TOKEN }), { mode: 0o600 });
    return "token.json";
  }

  test("the SDK's endpoint headers let it in", async () => {
    const box = connect(daemon.url, { "X-EXECD-ACCESS-TOKEN": TOKEN });
    assert.equal(await box.health.ping(), true);
    assert.deepEqual(texts((await box.commands.run("echo in")).logs.stdout), ["in"]);
    await box.close();
  });

  test("without them it is kept out", async () => {
    const box = connect(daemon.url);
    await assert.rejects(() => box.health.ping(), (e) => e.statusCode === 401);
    await assert.rejects(() => box.commands.run("true"), (e) => e.statusCode === 401);
    await box.close();
  });

  test("adapters built by hand work alike", async () => {
    const headers = { "X-EXECD-ACCESS-TOKEN": TOKEN };
    const client = createExecdClient({ baseUrl: daemon.url, headers });
    assert.equal(await new HealthAdapter(client).ping(), true);
    const commands = new CommandsAdapter(client, { baseUrl: daemon.url, headers });
    assert.equal((await commands.run("exit 9")).exitCode, 9);
  });
});
