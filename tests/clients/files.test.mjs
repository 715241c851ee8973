// The file interface of the JavaScript SDK as published, against the daemon.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { ConnectionConfig, DefaultAdapterFactory } from "@alibaba-group/opensandbox";

import { startDaemon } from "./daemon.mjs";

const root = process.getuid() === 0;

function connect(url) {
  const connectionConfig = new ConnectionConfig({ domain: "unused.invalid", apiKey: "unused", disableMetrics: true })
    .withTransportIfMissing();
  const stack = new DefaultAdapterFactory().createExecdStack({ connectionConfig, execdBaseUrl: url, endpointHeaders: {} });
  return { ...stack, close: () => connectionConfig.closeTransport() };
}

// What is refused carries status and, where the SDK reads the body itself, the code.
function refusedWith(status, code) {
  return (e) => {
    assert.equal(e.statusCode, status, String(e));
    assert.ok(e.requestId, "no request id");
    if (code) assert.ok(e.error?.code === code || JSON.stringify(e.rawBody ?? "").includes(code), JSON.stringify(e));
    return true;
  };
}

async function* pieces(data, size) {
  for (let i = 0; i < data.length; i += size) yield data.subarray(i, i + size);
}

async function collect(stream) {
  const out = [];
  for await (const piece of stream) out.push(piece);
  return Buffer.concat(out);
}

describe("sandbox.files", () => {
  let daemon, box, files, top;

  before(async () => {
    daemon = await startDaemon();
    box = connect(daemon.url);
    files = box.files;
  });

  after(async () => {
    await box.close();
    assert.deepEqual(await daemon.stop(), []);
  });

  function fresh(name) {
    top = path.join(daemon.root, name);
    mkdirSync(top);
    return top;
  }

  test("e2e 03: directories, writing, info, search, permissions, replacing, moving, deleting", async () => {
    const [one, two] = [path.join(daemon.root, "fs_test1"), path.join(daemon.root, "fs_test2")];
    await files.createDirectories([{ path: one, mode: 755 }, { path: two, mode: 644 }]);
    const made = await files.getFileInfo([one, two]);
    assert.deepEqual([made[one].mode, made[two].mode], [755, 644]);
    assert.deepEqual([made[one].type, made[two].type], ["directory", "directory"]);
    const ls = await box.commands.run("ls -la | grep fs_test", { workingDirectory: daemon.root });
    assert.equal(ls.logs.stdout.length, 2);

    const [f1, f2, f3] = ["test_file1.txt", "test_file2.txt", "test_file3.txt"].map((n) => path.join(one, n));
    const text = "Hello Filesystem!\nLine 2 with special chars: åäö\nLine 3";
    await files.writeFiles([
      { path: f1, data: text, mode: 644 },
      { path: f2, data: new TextEncoder().encode(text), mode: 755 },
      { path: f3, data: pieces(Buffer.from(text), 7), ...(root ? { owner: "nobody", group: "nogroup" } : {}), mode: 755 },
    ]);
    const infos = await files.getFileInfo([f1, f2, f3]);
    for (const f of [f1, f2, f3]) {
      assert.equal(infos[f].path, f);
      assert.equal(infos[f].size, Buffer.byteLength(text));
      assert.equal(infos[f].type, "file");
      assert.ok(Math.abs(infos[f].createdAt - infos[f].modifiedAt) < 2000);
      assert.ok(infos[f].owner && infos[f].group);
    }
    assert.deepEqual([f1, f2, f3].map((f) => infos[f].mode), [644, 755, 755]);
    if (root) assert.deepEqual([infos[f3].owner, infos[f3].group], ["nobody", "nogroup"]);

    assert.deepEqual((await files.search({ path: one, pattern: "*" })).map((f) => f.path), [f1, f2, f3]);
    assert.equal(await files.readFile(f1), text);
    assert.equal(await files.readFile(f1, { range: "bytes=0-9" }), text.slice(0, 10));
    assert.equal(Buffer.from(await files.readBytes(f2)).toString(), text);
    assert.equal((await collect(files.readBytesStream(f3))).toString(), text);

    await files.setPermissions([
      { path: f1, mode: 755, ...(root ? { owner: "nobody", group: "nogroup" } : {}) },
      { path: f2, mode: 600, ...(root ? { owner: "nobody", group: "nogroup" } : {}) },
    ]);
    const changed = await files.getFileInfo([f1, f2]);
    assert.deepEqual([changed[f1].mode, changed[f2].mode], [755, 600]);
    if (root) assert.deepEqual([changed[f1].owner, changed[f2].group], ["nobody", "nogroup"]);

    const old = (await files.getFileInfo([f1]))[f1];
    await new Promise((resolve) => setTimeout(resolve, 20));
    const updated = `${text}\nAppended line to file1`;
    await files.writeFiles([{ path: f1, data: updated, mode: 644 }]);
    const now = (await files.getFileInfo([f1]))[f1];
    assert.equal(now.size, Buffer.byteLength(updated));
    assert.ok(now.modifiedAt - old.modifiedAt >= 1);

    assert.deepEqual(await files.replaceContentsDetailed([{ path: f1, oldContent: "Appended line to file1", newContent: "Replaced line in file1" }]),
      [{ path: f1, replacedCount: 1 }]);
    assert.deepEqual(await files.replaceContentsDetailed([{ path: f1, oldContent: "NOT_PRESENT", newContent: "x" }]),
      [{ path: f1, replacedCount: 0 }]);
    await files.writeFiles([{ path: f2, data: "a a a" }]);
    assert.deepEqual(await files.replaceContentsDetailed([{ path: f2, oldContent: "a", newContent: "b" }]), [{ path: f2, replacedCount: 3 }]);
    const both = await files.replaceContentsDetailed([
      { path: f1, oldContent: "Replaced", newContent: "Again" }, { path: f2, oldContent: "b b", newContent: "c" }]);
    assert.deepEqual(both, [{ path: f1, replacedCount: 1 }, { path: f2, replacedCount: 1 }]);
    await files.replaceContents([{ path: f1, oldContent: "Again", newContent: "Finally" }]);
    assert.match(await files.readFile(f1), /Finally line in file1$/);

    const moved = path.join(two, "moved_file3.txt");
    await files.moveFiles([{ src: f3, dest: moved }]);
    assert.equal(await files.readFile(moved), text);
    await assert.rejects(() => files.readBytes(f3), refusedWith(404, "FILE_NOT_FOUND"));

    await files.deleteFiles([f2]);
    assert.deepEqual((await files.search({ path: one, pattern: "*" })).map((f) => f.path), [f1]);
    await files.deleteDirectories([one, two]);
    assert.equal(existsSync(one) || existsSync(two), false);
  });

  test("uploads what it is given, in each of its forms", async () => {
    fresh("forms");
    const data = randomBytes(300000);
    const forms = {
      string: data.toString("base64"), bytes: new Uint8Array(data), buffer: data.buffer.slice(data.byteOffset, data.byteOffset + data.length),
      blob: new Blob([data]), iterable: pieces(data, 10007), stream: ReadableStream.from(pieces(data, 65536)), empty: "", nothing: undefined,
    };
    await files.writeFiles(Object.entries(forms).map(([name, value]) => ({ path: path.join(top, name), data: value })));
    for (const name of Object.keys(forms)) {
      const want = name === "string" ? Buffer.from(forms.string) : ["empty", "nothing"].includes(name) ? Buffer.alloc(0) : data;
      assert.ok(readFileSync(path.join(top, name)).equals(want), name);
      assert.ok(Buffer.from(await files.readBytes(path.join(top, name))).equals(want), name);
    }
    assert.equal(lstatSync(path.join(top, "string")).mode & 0o777, 0o777 & ~process.umask());
  });

  test("streams twenty megabytes there and back", async () => {
    fresh("large");
    const data = randomBytes(20 << 20);
    const file = path.join(top, "deep/er/large.bin");
    await files.writeFiles([{ path: file, data: pieces(data, 1 << 16), mode: 600 }]);
    assert.ok((await collect(files.readBytesStream(file))).equals(data));
    const tail = await collect(files.readBytesStream(file, { range: "bytes=-1000" }));
    assert.ok(tail.equals(data.subarray(-1000)));
  });

  test("reads lines", async () => {
    fresh("lines");
    const file = path.join(top, "f");
    writeFileSync(file, "line1\nline2\nline3\nline4\nline5");
    assert.equal(await files.readFile(file, { offset: 2, limit: 2 }), "line2\nline3");
    assert.equal(await files.readFile(file, { offset: 4 }), "line4\nline5");
    assert.equal(await files.readFile(file, { limit: 2 }), "line1\nline2");
    assert.equal(await files.readFile(file, { offset: 2, limit: 100 }), "line2\nline3\nline4\nline5");
    assert.equal(await files.readFile(file, { offset: 9 }), "");
    await assert.rejects(() => files.readFile(file, { offset: 0 }), refusedWith(400, "INVALID_REQUEST_BODY"));
    await assert.rejects(() => files.readFile(file, { offset: 1, range: "bytes=0-1" }), refusedWith(400, "INVALID_REQUEST_BODY"));
  });

  test("lists directories", async () => {
    fresh("list");
    for (const d of ["a", "c"]) mkdirSync(path.join(top, d));
    for (const f of ["a/x", "a/y", "b"]) writeFileSync(path.join(top, f), f);
    symlinkSync("a", path.join(top, "link"));
    const rel = (list) => list.map((f) => path.relative(top, f.path));
    assert.deepEqual(rel(await files.listDirectory({ path: top })), ["a", "b", "c", "link"]);
    assert.deepEqual(rel(await files.listDirectory({ path: top, depth: 2 })), ["a", "a/x", "a/y", "b", "c", "link"]);
    assert.deepEqual(await files.listDirectory({ path: top, depth: 0 }), []);
    assert.deepEqual(await files.listDirectory({ path: path.join(top, "c") }), []);
    const types = (await files.listDirectory({ path: top })).map((f) => f.type);
    assert.deepEqual(types, ["directory", "file", "directory", "symlink"]);
    await assert.rejects(() => files.listDirectory({ path: path.join(top, "link") }), refusedWith(400, "INVALID_REQUEST_BODY"));
    await assert.rejects(() => files.listDirectory({ path: path.join(top, "gone") }), refusedWith(404, "FILE_NOT_FOUND"));
  });

  test("searches, and finds nothing as a list", async () => {
    fresh("search");
    for (const f of ["a.py", "b.txt", ".hidden.py"]) writeFileSync(path.join(top, f), "x");
    assert.deepEqual((await files.search({ path: top, pattern: "**/*.py" })).map((f) => path.basename(f.path)), [".hidden.py", "a.py"]);
    assert.equal((await files.search({ path: top })).length, 3);
    assert.deepEqual(await files.search({ path: top, pattern: "*.none" }), []);
    await assert.rejects(() => files.search({ path: top, pattern: "[" }), refusedWith(400, "INVALID_PATTERN"));
  });

  test("names of every kind make the round trip", async () => {
    fresh("names");
    for (const name of ["with space", "plus+and&", "日本語.txt", "é%41", "semi;colon", "a'b", "#hash?"]) {
      const file = path.join(top, name);
      await files.writeFiles([{ path: file, data: name }]);
      assert.equal(await files.readFile(file), name);
      assert.equal((await files.getFileInfo([file]))[file].size, Buffer.byteLength(name));
    }
    assert.equal((await files.listDirectory({ path: top })).length, 7);
    await files.deleteFiles(readdirSync(top).map((n) => path.join(top, n)));
    assert.deepEqual(readdirSync(top), []);
  });

  test("nothing is asked, nothing is answered", async () => {
    assert.deepEqual(await files.getFileInfo([]), {});
    await files.deleteFiles([]);
    await files.deleteDirectories([]);
    await files.setPermissions([]);
    await files.createDirectories([]);
    await files.moveFiles([]);
    assert.deepEqual(await files.replaceContentsDetailed([]), []);
  });

  test("what is refused is an exception", async () => {
    fresh("refused");
    const [dir, gone, out] = [path.join(top, "dir"), path.join(top, "gone"), "/etc/passwd"];
    mkdirSync(dir);
    writeFileSync(path.join(top, "f"), "x");
    for (const [what, status, code] of [
      [() => files.getFileInfo([gone]), 404, "FILE_NOT_FOUND"],
      [() => files.getFileInfo([out]), 403, "PATH_FORBIDDEN"],
      [() => files.readFile(out), 403, "PATH_FORBIDDEN"],
      [() => files.readFile(dir), 400, "INVALID_REQUEST_BODY"],
      [() => collect(files.readBytesStream(gone)), 404, "FILE_NOT_FOUND"],
      [() => files.writeFiles([{ path: dir, data: "x" }]), 400, "INVALID_REQUEST_BODY"],
      [() => files.writeFiles([{ path: "/nowhere/f", data: pieces(randomBytes(100000), 5000) }]), 403, "PATH_FORBIDDEN"],
      [() => files.writeFiles([{ path: "", data: "x" }]), 400, "INVALID_FILE_METADATA"],
      [() => files.deleteFiles([dir]), 400, "INVALID_REQUEST_BODY"],
      [() => files.moveFiles([{ src: gone, dest: dir }]), 404, "FILE_NOT_FOUND"],
      [() => files.moveFiles([{ src: path.join(top, "f"), dest: dir }]), 409, "FILE_EXISTS"],
      [() => files.replaceContents([{ path: gone, oldContent: "a", newContent: "b" }]), 404, "FILE_NOT_FOUND"],
      [() => files.replaceContents([{ path: path.join(top, "f"), oldContent: "", newContent: "b" }]), 400, "INVALID_REQUEST_BODY"],
      [() => files.setPermissions([{ path: gone, mode: 644 }]), 404, "FILE_NOT_FOUND"],
      [() => files.setPermissions([{ path: path.join(top, "f"), mode: 999 }]), 400, "INVALID_REQUEST_BODY"],
      [() => files.createDirectories([{ path: path.join(top, "f") }]), 409, "FILE_EXISTS"],
      [() => files.readBytes(path.join(top, "f"), { range: "bytes=5-" }), 416, "RANGE_NOT_SATISFIABLE"],
      [() => files.readBytes(path.join(top, "f"), { range: "bytes=x" }), 416, "UNKNOWN"],
    ]) {
      await assert.rejects(what, refusedWith(status, code));
    }
  });

  test("a hundred transfers at once keep their bytes apart", async () => {
    fresh("many");
    await Promise.all(Array.from({ length: 100 }, async (_, i) => {
      const [file, data] = [path.join(top, `${i}`), randomBytes(1000 * i)];
      await files.writeFiles([{ path: file, data: i % 2 ? data : pieces(data, 4096) }]);
      assert.ok(Buffer.from(await files.readBytes(file)).equals(data), file);
    }));
    assert.equal((await files.listDirectory({ path: top })).length, 100);
  });
});
