// Starts a boxd for a test and says where it listens.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";

const DEADLINE_MS = 20000;

export async function startDaemon(...extra) {
  const dir = mkdtempSync(path.join(process.cwd(), "daemon-"));
  const [root, state] = [path.join(dir, "ws"), path.join(dir, "state")];
  mkdirSync(state);
  const child = spawn(
    process.env.BOXD_BIN,
    ["--listen", "127.0.0.1:0", "--root", root, "--state-dir", state, ...extra],
    { stdio: ["ignore", "inherit", "pipe"] },
  );
  const log = [];
  const exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const address = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`does not listen:\n${log.join("\n")}`)), DEADLINE_MS);
    late.unref();
    exited.then((code) => reject(new Error(`ended with ${code}:\n${log.join("\n")}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      log.push(line);
      const found = /listening addr=(\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
  });

  return {
    url: `http://${address}`,
    root,
    log,
    // Ends it, and tells what was wrong with its life: an empty list is good.
    async stop() {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
      const code = await exited;
      clearTimeout(late);
      const problems = log.filter((line) => /^\S+ error |Sanitizer|runtime error:|Assertion/.test(line));
      if (code !== 0) problems.push(`exit status ${code}`);
      rmSync(dir, { recursive: true, force: true });
      return problems;
    },
  };
}
