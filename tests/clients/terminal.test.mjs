// The terminal page in a real browser: Debian's Chromium opens GET /terminal of the daemon.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";

import { chromium } from "playwright-core";

import { startDaemon } from "./daemon.mjs";
import { startRelay } from "./relay.mjs";

const DEADLINE_MS = 20000;
const PICTURES = path.join(process.cwd(), "screenshots");
const DESKTOP = { viewport: { width: 900, height: 560 }, colorScheme: "light" };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2, colorScheme: "dark" };

let browser;

before(async () => {
  mkdirSync(PICTURES, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.BOXD_BROWSER ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
});

after(() => browser?.close());

// A page, and what a test does with it. Nothing it loads may come from elsewhere, and no script may fail.
class Screen {
  static async open(url, how = DESKTOP) {
    const screen = new Screen();
    screen.context = await browser.newContext(how);
    screen.page = await screen.context.newPage();
    screen.problems = [];
    screen.page.setDefaultTimeout(DEADLINE_MS);
    screen.page.on("pageerror", (error) => screen.problems.push(String(error)));
    screen.page.on("console", (message) => {
      if (/Content Security Policy/.test(message.text())) screen.problems.push(message.text());
    });
    screen.page.on("request", (request) => {
      if (!request.url().startsWith("data:") && new URL(request.url()).origin !== new URL(url).origin) screen.problems.push(request.url());
    });
    await screen.page.goto(url);
    return screen;
  }

  async close() {
    await this.context.close();
    assert.deepEqual(this.problems, []);
  }

  state(name) {
    return this.page.waitForFunction((want) => document.body.dataset.state === want, name);
  }

  // What is in the scrollback and on the screen, without the empty lines at its end.
  lines() {
    return this.page.evaluate(() => {
      const buffer = window.boxdTerminal.buffer.active;
      const lines = Array.from({ length: buffer.length }, (_, i) => buffer.getLine(i).translateToString(true));
      while (lines.at(-1) === "") lines.pop();
      return lines;
    });
  }

  // Waits for a line that is exactly this: what was typed stands behind a prompt.
  async line(text) {
    try {
      await this.page.waitForFunction((want) => {
        const buffer = window.boxdTerminal.buffer.active;
        for (let i = buffer.length - 1; i >= 0; i--) if (buffer.getLine(i).translateToString(true) === want) return true;
        return false;
      }, text, { polling: 50 });
    } catch (error) {
      throw new Error(`no line ${JSON.stringify(text)} in\n${(await this.lines()).slice(-40).join("\n")}`, { cause: error });
    }
  }

  type(text) {
    return this.page.keyboard.type(text);
  }

  // Types a command and waits until its last line, which is not in what is typed, is there.
  async run(command, mark) {
    await this.type(`${command}; echo "${mark.slice(0, 1)}""${mark.slice(1)}"\n`);
    await this.line(mark);
  }

  // The part of the full-screen buffer that is on the screen.
  async fullScreen(on) {
    await this.page.waitForFunction((want) => (window.boxdTerminal.buffer.active.type === "alternate") === want, on);
  }

  picture(name) {
    return this.page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
  }

  id() {
    return new URLSearchParams(new URL(this.page.url()).hash.slice(1)).get("id");
  }
}

describe("the terminal page", { timeout: 300000 }, () => {
  let daemon, url;

  before(async () => {
    daemon = await startDaemon();
    url = `${daemon.url}/terminal`;
  });

  after(async () => assert.deepEqual(await daemon.stop(), []));

  async function openConnected(where = url, how = DESKTOP) {
    const screen = await Screen.open(where, how);
    await screen.state("connected");
    return screen;
  }

  // Waits for what the daemon says about the terminal.
  async function until(screen, what) {
    const end = Date.now() + DEADLINE_MS;
    while (!what(await (await fetch(`${daemon.url}/pty/${screen.id()}`)).json())) assert.ok(Date.now() < end, String(what));
  }

  test("a typed command shows its output", async () => {
    const screen = await openConnected();
    await screen.type("echo sum $((40 + 2)); printf '\\303\\251\\342\\202\\254\\n'\n");
    await screen.line("sum 42");
    await screen.line("\u00e9\u20ac");
    await screen.type("echo 'gr\u00fc\u00dfe' | wc -c\n");
    await screen.line("8");
    await screen.run("ls --color=always /; tput colors", "done");
    await screen.line("256");
    await screen.picture("command");
    await screen.close();
  });

  test("full-screen programs come and go", async () => {
    const file = path.join(daemon.root, "long.txt");
    writeFileSync(file, Array.from({ length: 500 }, (_, i) => `entry ${i + 1}\n`).join(""));
    const screen = await openConnected();
    await screen.type(`less ${file}\n`);
    await screen.fullScreen(true);
    await screen.line("entry 1");
    await screen.type("G");
    await screen.line("entry 500");
    await screen.picture("less");
    await screen.type("q");
    await screen.fullScreen(false);

    await screen.type(`vi ${file}.new\n`);
    await screen.fullScreen(true);
    await screen.type("ihello from a browser");
    await screen.line("hello from a browser");
    await screen.picture("vi");
    await screen.page.keyboard.press("Escape");
    await screen.type(":wq\n");
    await screen.fullScreen(false);
    await screen.run("true", "out");
    assert.equal(readFileSync(`${file}.new`, "utf8"), "hello from a browser\n");
    await screen.close();
  });

  test("a connection that breaks again and again loses and repeats nothing", async () => {
    const relay = await startRelay(daemon.url);
    const screen = await openConnected(`${relay.url}/terminal`);
    await screen.page.evaluate(() => {
      window.boxdTerminal.options.scrollback = 30000;
    });
    await screen.run("true", "ready");
    relay.lives = [20000, 50000, 300, 120000];
    relay.cut();
    await screen.page.waitForFunction(() => document.body.dataset.state !== "connected");
    await screen.state("connected");
    await screen.type("for i in $(seq 1 20000); do echo line $i; done; echo 'e''nd'\n");
    await screen.line("end");
    await relay.stop();
    assert.ok(relay.cuts > 4, `only ${relay.cuts} cuts`);
    const numbers = (await screen.lines()).filter((l) => l.startsWith("line ")).map((l) => Number(l.slice(5)));
    assert.deepEqual(numbers, Array.from({ length: 20000 }, (_, i) => i + 1));
    await screen.close();
  });

  test("what comes twice is shown once", async () => {
    const relay = await startRelay(daemon.url);
    const screen = await openConnected(`${relay.url}/terminal`);
    await screen.run("seq 1000 1200", "first");
    relay.forgetful = true;
    relay.cut();
    await screen.page.waitForFunction(() => document.body.dataset.state !== "connected");
    await screen.state("connected");
    await screen.run("seq 1201 1300", "second");
    const numbers = (await screen.lines()).filter((l) => /^\d{4}$/.test(l)).map(Number);
    assert.deepEqual(numbers, Array.from({ length: 301 }, (_, i) => 1000 + i));
    await screen.close();
    await relay.stop();
  });

  test("the page says that it reconnects, keeps trying, and goes on where it was", async () => {
    const relay = await startRelay(daemon.url);
    const screen = await openConnected(`${relay.url}/terminal`);
    await screen.run("n=7", "before");
    await screen.type("echo 'go''es'; sleep 1; echo meanwhile $n\n");
    await screen.line("goes");
    relay.down = true;
    relay.cut();
    await screen.state("reconnecting");
    await screen.picture("reconnecting");
    relay.down = false;
    await screen.state("connected");
    await screen.line("meanwhile 7");
    assert.equal((await screen.lines()).filter((l) => l === "meanwhile 7").length, 1);
    await screen.close();
    await relay.stop();
  });

  test("a network that went silent is noticed when there is a reason to look", async () => {
    const relay = await startRelay(daemon.url);
    const screen = await openConnected(`${relay.url}/terminal`);
    await screen.run("true", "before");
    relay.freeze();
    await screen.type("echo lost\n");
    await screen.page.evaluate(() => dispatchEvent(new Event("online")));
    await screen.state("reconnecting");
    await screen.state("connected");
    await screen.run("true", "after");
    await screen.close();
    await relay.stop();
  });

  test("what was not kept meanwhile is counted", async () => {
    const relay = await startRelay(daemon.url);
    const screen = await openConnected(`${relay.url}/terminal`);
    await screen.page.evaluate(() => {
      window.boxdTerminal.options.scrollback = 300000;
    });
    await screen.run("stty -echo; PS1=", "quiet");
    await screen.type("echo start; read -r; seq 1000000 1400000; echo 'e''nd'\n");
    await screen.line("start");
    const before = (await (await fetch(`${daemon.url}/pty/${screen.id()}`)).json()).output_offset;
    relay.down = true;
    relay.cut();
    await screen.state("reconnecting");
    await fetch(`${daemon.url}/pty/${screen.id()}/input`, { method: "POST", body: "\n" });
    const all = 400001 * "1000000\r\n".length + "end\r\n".length;
    await until(screen, (info) => info.output_offset >= before + all);
    relay.down = false;
    await screen.line("end");
    const lines = await screen.lines();
    const at = lines.findIndex((l) => l.includes("are not kept any more"));
    const lost = Number(/^\[([\d,]+) bytes/.exec(lines[at])[1].replaceAll(",", ""));
    assert.ok(lost > 1e6, `${lost}`);
    // The first line may have lost its beginning; all after it are whole, and none is missing.
    const first = 1000000 + Math.floor(lost / 9);
    const rest = `${first}\r\n`.slice(lost % 9).trim();
    const expected = Array.from({ length: 1400000 - first }, (_, i) => String(first + 1 + i));
    assert.deepEqual(lines.slice(at + 1, -1).filter((l) => l !== ""), [...(rest ? [rest] : []), ...expected]);
    await screen.close();
    await relay.stop();
  });

  test("a page that is loaded again shows the same terminal, and answers no old questions", async () => {
    const screen = await openConnected();
    const id = screen.id();
    // The terminal answers a device query as if its answer was typed: bash would show it.
    await screen.type("seq 60000; printf '\\033[c\\033[6n'; read -rsn 20 -t 1; clear; echo 'asked' \"$((1 + 1))\"\n");
    await screen.line("asked 2");
    await screen.page.reload();
    await screen.state("connected");
    await screen.line("asked 2");
    assert.equal(screen.id(), id);
    await screen.run("true", "again");
    assert.ok(!(await screen.lines()).some((l) => /1;2c|;\d+R/.test(l)), (await screen.lines()).join("\n"));
    await screen.close();
  });

  // A sequence after which nothing is drawn until screen.page calls goOn(): so a flood is one on any machine.
  async function dam(screen) {
    await screen.page.evaluate(() => {
      window.boxdTerminal.parser.registerCsiHandler({ prefix: "?", final: "z" }, () => new Promise((resolve) => {
        window.goOn = () => resolve(true);
      }));
    });
    return "printf '\\033[?1z'; yes | head -c 15000000";
  }

  test("a flood is survived", async () => {
    const screen = await openConnected();
    let sockets = 1;
    screen.page.on("websocket", () => sockets++);
    await screen.type(`${await dam(screen)}; echo; echo 'dr''y'\n`);
    await until(screen, (info) => info.output_offset > 15e6);
    await screen.page.evaluate(() => window.goOn());
    await screen.line("dry");
    await screen.run("true", "alive");
    assert.equal(sockets, 2);
    await screen.close();
  });

  test("what comes last in a flood is seen, though the shell has ended by then", async () => {
    const screen = await openConnected();
    await screen.type(`${await dam(screen)}; echo; echo 'dr''y'; exit 6\n`);
    await until(screen, (info) => !info.running);
    await screen.page.evaluate(() => window.goOn());
    await screen.state("ended");
    await screen.line("dry");
    assert.match(await screen.page.textContent("#message"), /status 6/);
    await screen.close();
  });

  test("a flood can be interrupted", async () => {
    const screen = await openConnected();
    await screen.type("yes\n");
    await screen.page.waitForFunction(() => window.boxdTerminal.buffer.active.length > 5000);
    await screen.page.keyboard.press("Control+c");
    await screen.run("true", "stopped");
    await screen.close();
  });

  test("the window's size is the terminal's", async () => {
    const screen = await openConnected();
    const size = () => screen.page.evaluate(() => `${window.boxdTerminal.rows} ${window.boxdTerminal.cols}`);
    const first = await size();
    await screen.run(`until [ "$(stty size)" = "${first}" ]; do sleep 0.05; done`, "first size");
    await screen.page.setViewportSize({ width: 700, height: 400 });
    await screen.page.waitForFunction((old) => `${window.boxdTerminal.rows} ${window.boxdTerminal.cols}` !== old, first);
    await screen.run(`until [ "$(stty size)" = "${await size()}" ]; do sleep 0.05; done`, "second size");
    await screen.close();
  });

  test("on a phone there are the keys that it lacks", async () => {
    const screen = await openConnected(url, PHONE);
    const { page } = screen;
    assert.ok(await page.locator("#keys").isVisible());
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.equal(width[0], width[1], "the page scrolls sideways");
    await screen.run("true", "one");
    await page.tap("text=\u2191");
    await screen.page.keyboard.press("Enter");
    await page.waitForFunction(() => {
      const buffer = window.boxdTerminal.buffer.active;
      return Array.from({ length: buffer.length }, (_, i) => buffer.getLine(i).translateToString(true)).filter((l) => l === "one").length === 2;
    });
    await screen.type("cat\n");
    await page.tap("#ctrl");
    assert.equal(await page.getAttribute("#ctrl", "aria-pressed"), "true");
    await screen.type("c");
    assert.equal(await page.getAttribute("#ctrl", "aria-pressed"), "false");
    await screen.type("echo status $?\n");
    await screen.line("status 130");
    await screen.type("echo a");
    for (const key of ["|", "/", "-"]) await page.tap(`#keys >> text="${key}"`);
    await screen.page.keyboard.press("Control+u");
    await screen.run("ls --color=always /usr /etc | head -30", "keys");
    await screen.picture("phone");
    await page.tap("#choose");
    await page.waitForSelector("#list button");
    await screen.picture("phone-terminals");
    await screen.close();
  });

  test("who comes later takes over, and the first can take it back", async () => {
    const first = await openConnected();
    await first.run("true", "mine");
    const second = await openConnected(first.page.url());
    await second.line("mine");
    await first.state("taken");
    await first.picture("taken");
    await first.page.click("text=Take back");
    await first.state("connected");
    await second.state("taken");
    await first.run("true", "mine again");
    await first.close();
    await second.close();
  });

  test("who only looks sees all and types nothing", async () => {
    const holder = await openConnected();
    await holder.run("true", "seen");
    const observer = await openConnected(`${url}?observe=1#id=${holder.id()}`);
    await observer.line("seen");
    assert.ok(await observer.page.locator("#readonly").isVisible());
    await observer.type("echo intruder\n");
    await holder.run("true", "later");
    await observer.line("later");
    assert.equal(await holder.page.evaluate(() => document.body.dataset.state), "connected");
    assert.ok(!(await holder.lines()).some((l) => l.includes("intruder")));
    assert.equal(new URL(observer.page.url()).search, "?observe=1");
    await observer.picture("observer");
    await holder.close();
    await observer.close();
  });

  test("a shell that ends says how, and can be started again", async () => {
    const screen = await openConnected();
    await screen.type("exit 3\n");
    await screen.state("ended");
    assert.match(await screen.page.textContent("#message"), /status 3/);
    await screen.picture("ended");
    await screen.page.reload();
    await screen.state("ended");
    assert.ok((await screen.lines()).some((l) => l.endsWith("exit 3")), "what was there is shown");
    await screen.page.click("text=Restart");
    await screen.state("connected");
    await screen.run("true", "second life");
    await screen.close();
  });

  test("a shell that ends while nobody looks is not started anew by looking", async () => {
    const relay = await startRelay(daemon.url);
    const screen = await openConnected(`${relay.url}/terminal`);
    await screen.type("echo 'go''es'; sleep 1; echo last words; exit 5\n");
    await screen.line("goes");
    relay.down = true;
    relay.cut();
    await screen.state("reconnecting");
    await until(screen, (info) => !info.running);
    relay.down = false;
    await screen.state("ended");
    await screen.line("last words");
    assert.match(await screen.page.textContent("#message"), /status 5/);
    await until(screen, (info) => !info.running);
    await screen.close();
    await relay.stop();
  });

  test("works below the port proxy as well", async () => {
    const screen = await openConnected(`${daemon.url}/proxy/${new URL(daemon.url).port}/terminal`);
    await screen.run("true", "through the proxy");
    assert.match(new URL(screen.page.url()).pathname, /^\/proxy\/\d+\/terminal$/);
    await screen.close();
  });

  test("a page for looking that is told no terminal asks which, and makes none", async () => {
    const there = await openConnected();
    await there.run("true", "there");
    const count = async () => (await (await fetch(`${daemon.url}/pty`)).json()).length;
    const before = await count();
    const screen = await Screen.open(`${url}?observe=1`);
    await screen.state("missing");
    await screen.page.click("text=Choose");
    assert.ok(!(await screen.page.locator("#new").isVisible()));
    await screen.page.click(`#list button:has-text("${there.id()}")`);
    await screen.line("there");
    assert.equal(await count(), before);
    await screen.close();
    await there.close();
  });

  test("a terminal that does not exist is not invented", async () => {
    const screen = await Screen.open(`${url}#id=00000000-0000-4000-8000-000000000000`);
    await screen.state("missing");
    await screen.page.click("text=New terminal");
    await screen.state("connected");
    await screen.run("true", "new");
    await screen.close();
  });

  test("the list leads to the other terminals", async () => {
    const screen = await openConnected();
    const first = screen.id();
    await screen.run("true", "the first");
    await screen.page.click("#choose");
    await screen.page.click("text=New terminal");
    await screen.page.waitForFunction((old) => !location.hash.endsWith(old), first);
    await screen.state("connected");
    await screen.run("true", "the second");
    assert.ok(!(await screen.lines()).includes("the first"));
    await screen.page.click("#choose");
    await screen.page.waitForSelector("#list button[aria-current]");
    await screen.picture("terminals");
    await screen.page.click(`#list button:has-text("${first}")`);
    await screen.line("the first");
    assert.equal(screen.id(), first);
    assert.ok(!(await screen.lines()).includes("the second"));
    await screen.close();
  });
});

describe("the terminal page of a daemon with a token", () => {
  const token = "browser-secret";
  let daemon;

  before(async () => {
    const file = path.join(process.cwd(), "terminal-token");
    writeFileSync(file, token, { mode: 0o600 });
    daemon = await startDaemon("--token-file", file);
  });

  after(async () => assert.deepEqual(await daemon.stop(), []));

  test("opens with a ticket, asks for the token, and keeps it to itself", async () => {
    const headers = { "X-EXECD-ACCESS-TOKEN": token };
    assert.equal((await fetch(`${daemon.url}/terminal`)).status, 401);
    const { ticket } = await (await fetch(`${daemon.url}/tickets`, { method: "POST", headers })).json();
    const screen = await Screen.open(`${daemon.url}/terminal?ticket=${ticket}`, PHONE);
    const { page } = screen;
    await screen.state("unauthorized");
    await screen.picture("token");
    await page.fill("#token", "not it");
    await page.click("text=Connect");
    await page.waitForSelector("text=does not take this token");
    await page.fill("#token", token);
    await page.click("text=Connect");
    await screen.state("connected");
    await screen.run("true", "inside");
    assert.ok(!page.url().includes("ticket"), page.url());
    const kept = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, document.body.innerHTML].join());
    assert.ok(!kept.includes(token));
    assert.equal((await fetch(`${daemon.url}/terminal?ticket=${ticket}`)).status, 401, "a ticket is good once");
    await screen.close();
  });
});
