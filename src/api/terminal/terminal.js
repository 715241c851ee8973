// The page of GET /terminal: one terminal of the daemon on the screen, over the WebSocket of
// GET /pty/{id}/ws.
//
// A terminal outlives its connections, so what the page holds is a place in the terminal's output:
// `offset` counts every byte given to the screen. A connection that breaks is followed by one that
// asks for the rest (`since=`), and the bytes that both bring are shown once. Whatever was asked of an
// earlier connection finds that `turn` has moved on, and is dropped.

const FRAME_INPUT = 0, FRAME_OUTPUT = 1, FRAME_ERRORS = 2, FRAME_REPLAY = 3;
const REPLAY_HEAD = 9; // the frame's type and the absolute offset of its first byte
const CLOSE_TAKEN_OVER = 4001;

const RETRY_MIN_MS = 250, RETRY_MAX_MS = 5000;
const REQUEST_MS = 5000; // for an answer, and for a connection to come about
const REPLAY_MS = 60000; // for all that is kept, over a slow network
const PROBE_MS = 15000; // between two questions whether a quiet connection still works
const PROBE_WAIT_MS = 5000; // for the answer
const RESIZE_MS = 100; // a window that is being dragged is one resize
const FOLLOW_MS = 3000; // between two looks at the size that somebody else gives the terminal
const INPUT_BYTES = 65536; // in one message
const BACKLOG_BYTES = 8 << 20; // received, not on the screen yet
const SCROLLBACK = 10000;

// What programs go by: the daemon may have been started from another terminal.
const ENVIRONMENT = { TERM: "xterm-256color", COLORTERM: "truecolor" };
const COLORS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const observing = query.get("observe") === "1";
// The page may be served below another path, such as /proxy/44772/terminal.
const base = new URL(location.pathname.replace(/[^/]*\/?$/, ""), location.origin);

let token = sessionStorage.getItem("boxd-token");
let id = new URLSearchParams(location.hash.slice(1)).get("id") ?? query.get("id");
let offset = 0;
let turn = 0;
let socket = null;
let failures = 0; // connections in a row that did not come about or broke
let retry = 0; // timers
let deaf = 0;
let resizing = 0;
let backlog = 0; // bytes
let behind = false; // too many of them: what comes now is left for the next connection
let held = null; // what is typed between the two
let restarting = false; // the shell may be started again
let attached = false; // the server has said "connected"
let pipe = false; // the program has pipes and no terminal
let silent = 0; // replays not on the screen yet: nobody waits for answers to their questions any more

// ---- what the page says ----

// The colours are in the style sheet, which knows whether it is dark.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`);
  const named = COLORS.flatMap((name) => [
    [name, color(name)],
    [`bright${name[0].toUpperCase()}${name.slice(1)}`, color(`bright-${name}`)],
  ]);

  return { ...Object.fromEntries(named), background: color("back"), foreground: color("text"), cursor: color("text"),
    cursorAccent: color("back"), selectionBackground: color("selection") };
}

const term = new Terminal({
  cursorBlink: true,
  fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
  fontSize: matchMedia("(any-pointer: coarse)").matches ? 12 : 14,
  disableStdin: observing,
  lineHeight: 1.1, // less, and an underscore may fall between two rows
  scrollback: SCROLLBACK,
  theme: theme(),
});
const fit = new FitAddon.FitAddon();

const STATES = {
  connecting: "Connecting",
  connected: "Connected",
  reconnecting: "Reconnecting",
  taken: "Taken over",
  ended: "Ended",
  missing: "Not found",
  unauthorized: "Access token needed",
  failed: "Failed",
};

// Shows a state; with a message it is one that only the person before the screen can change.
// Actions are pairs of a label and what happens then.
function show(state, message = "", actions = []) {
  document.body.dataset.state = state;
  $("state").textContent = STATES[state];
  $("message").textContent = message;
  $("notice").hidden = message === "";
  $("access").hidden = state !== "unauthorized";
  $("actions").replaceChildren(...actions.map(([label, act]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      term.focus();
      act();
    });
    return button;
  }));
}

const anew = observing ? [] : [["New terminal", () => open(null)]];

function showName(name) {
  $("name").textContent = name;
  document.title = `${name} - boxd`;
}

function nameOf(pty) {
  return pty.label || `Terminal ${pty.session_id.slice(0, 8)}`;
}

function ended(code) {
  disconnect();
  const how = code < 0 ? "The shell was ended by a signal." : `The shell has ended with status ${code}.`;
  show("ended", how, observing ? [["Look again", connect]] : [["Restart", restart], ...anew]);
}

// A line of the page's own among the output.
function remark(text) {
  // CAN ends an escape sequence whose rest is not coming.
  term.write(`\x18\x1b[0m\r\n\x1b[2m[${text}]\x1b[0m\r\n`);
}

// ---- requests ----

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(method, path, body) {
  const response = await fetch(new URL(path, base), {
    method,
    headers: token ? { "X-EXECD-ACCESS-TOKEN": token } : {},
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({}));
  throw new Refused(response.status, told.message ?? `${response.status} ${response.statusText}`);
}

// ---- the connection ----

function disconnect() {
  turn++;
  clearTimeout(retry);
  clearTimeout(deaf);
  attached = behind = false;
  held = null;
  socket?.close();
  socket = null;
}

// Shows another terminal, or a new one.
function open(which) {
  disconnect();
  id = which;
  offset = failures = 0;
  restarting = false;
  // In line behind what is not drawn yet: CAN ends an escape sequence, RIS clears all.
  term.write("\x18\x1bc");
  showName("Terminal");
  connect();
}

function restart() {
  restarting = true;
  connect();
}

// A browser tells nothing about a handshake that is refused, so requests go ahead of it that say why.
async function connect() {
  const typed = held;

  disconnect();
  held = typed;
  const mine = turn;
  if (id === null && observing) {
    show("missing", "Which terminal?", [["Choose", choose]]);
    return;
  }
  show(failures > 0 ? "reconnecting" : "connecting");
  try {
    if (id === null) {
      const made = await call("POST", "pty", { cols: term.cols, rows: term.rows, env: ENVIRONMENT });
      if (mine !== turn) return;
      id = made.session_id;
      restarting = true;
    }
    const info = await call("GET", `pty/${encodeURIComponent(id)}`);
    const ticket = token ? (await call("POST", "tickets")).ticket : null;
    if (mine === turn) openSocket(info, ticket);
  } catch (error) {
    if (mine === turn) onRefused(error);
  }
}

function onRefused(error) {
  if (error.status === 401) {
    show("unauthorized", token ? "The daemon does not take this token." : "The daemon wants its access token.");
    $("token").focus();
  } else if (error.status === 404) {
    show("missing", "There is no such terminal.", anew);
  } else if (error.status >= 400 && error.status !== 429 && !(error.status >= 502 && error.status <= 504)) {
    show("failed", error.message, [["Try again", connect]]);
  } else {
    again();
  }
}

function again() {
  disconnect();
  const wait = Math.min(RETRY_MIN_MS * 2 ** failures++, RETRY_MAX_MS);
  show("reconnecting");
  retry = setTimeout(connect, RETRY_MIN_MS + Math.random() * (wait - RETRY_MIN_MS));
}

function openSocket(info, ticket) {
  // A shell that has ended is not started anew by looking at it, or by a connection that broke.
  const over = !info.running && info.exit_code !== undefined && !restarting;
  const url = new URL(`pty/${encodeURIComponent(id)}/ws`, base);

  history.replaceState(null, "", `${location.pathname}${observing ? "?observe=1" : ""}#id=${encodeURIComponent(id)}`);
  showName(nameOf(info));
  // Without a terminal in between nobody turns the line ends of a program into those of a screen.
  pipe = term.options.convertEol = info.running && info.mode === "pipe";
  if (observing) term.resize(info.cols, info.rows);
  url.protocol = base.protocol.replace("http", "ws");
  url.searchParams.set("since", offset);
  url.searchParams.set(...(observing || over ? ["observe", "1"] : ["takeover", "1"]));
  if (ticket) url.searchParams.set("ticket", ticket);
  listen(new WebSocket(url), over ? () => ended(info.exit_code) : onConnected);
}

// Only the latest socket is listened to.
function listen(ws, whenConnected) {
  const mine = turn;
  let last = null; // what the server said before it closes
  const only = (fn) => (event) => {
    if (mine === turn) fn(event);
  };

  socket = ws;
  ws.binaryType = "arraybuffer";
  deaf = setTimeout(again, REQUEST_MS);
  ws.addEventListener("open", only(() => {
    clearTimeout(deaf);
    deaf = setTimeout(again, REPLAY_MS);
  }));
  ws.addEventListener("message", only(({ data }) => {
    if (attached) clearTimeout(deaf);
    if (data instanceof ArrayBuffer) {
      onFrame(new Uint8Array(data));
      return;
    }
    const said = JSON.parse(data);
    if (said.type === "connected" && !behind) whenConnected();
    else if (said.type === "exit" || said.type === "error") last = said;
  }));
  ws.addEventListener("close", only(({ code }) => {
    if (code === CLOSE_TAKEN_OVER || last?.code === "ALREADY_CONNECTED") onTaken();
    else if (behind) return; // the next connection is on its way, and hears of the end too
    else if (last?.type === "exit") ended(last.exit_code);
    else if (last?.code === "START_FAILED") onFailed(last.error);
    else again();
  }));
}

function onTaken() {
  disconnect();
  show("taken", "This terminal is used somewhere else now.", [["Take back", connect]]);
}

function onFailed(why) {
  disconnect();
  show("failed", why, [["Try again", connect]]);
}

function onConnected() {
  clearTimeout(deaf);
  attached = true;
  failures = 0;
  restarting = false;
  show("connected");
  sendSize();
  const typed = held ?? [];
  held = null;
  typed.forEach(type);
}

// Is the connection still there? A network that went away says nothing.
function probe() {
  if (!attached) return;
  clearTimeout(deaf);
  deaf = setTimeout(again, PROBE_WAIT_MS);
  tell({ type: "ping" });
}

// The network or the person is back: find out now instead of later.
function wake() {
  if (attached) probe();
  else if (document.body.dataset.state === "reconnecting") connect();
}

// ---- output ----

function onFrame(frame) {
  if (behind) return;
  if (frame[0] === FRAME_OUTPUT || frame[0] === FRAME_ERRORS) {
    offset += frame.length - 1;
    put(frame.subarray(1));
  } else if (frame[0] === FRAME_REPLAY && frame.length >= REPLAY_HEAD) {
    onReplay(Number(new DataView(frame.buffer).getBigUint64(1)), frame.subarray(REPLAY_HEAD));
  }
  if (backlog > BACKLOG_BYTES) catchUp();
}

function onReplay(start, data) {
  const known = offset;

  offset = start + data.length;
  if (start > known) remark(`${(start - known).toLocaleString("en")} bytes of output are not kept any more`);
  // What the program asked its terminal back then must not be answered as if somebody typed it.
  term.write("", () => silent++);
  put(data.subarray(Math.max(known - start, 0)), () => silent--);
  if (start > known) redraw();
}

function put(data, done) {
  backlog += data.length;
  term.write(data, () => {
    backlog -= data.length;
    done?.();
  });
}

// A program that fills the screen draws only what changes, on a screen that has lost the rest: it
// draws all of it when the size changes.
function redraw() {
  setTimeout(() => {
    if (!attached || observing) return;
    tell({ type: "resize", cols: term.cols, rows: term.rows + 1 });
    onResize();
  }, RESIZE_MS);
}

// More arrives than can be drawn, and a browser cannot tell a server to wait: so draw what is there, and
// then ask for the rest anew, or for what is kept of it. The scrollback would not hold more either.
function catchUp() {
  const mine = turn;

  behind = true;
  held ??= [];
  term.write("", () => {
    if (mine === turn) connect();
  });
}

// ---- input ----

const encoder = new TextEncoder();

function tell(message) {
  if (attached) socket.send(JSON.stringify(message));
}

function type(bytes) {
  if (!attached) {
    held?.push(bytes);
    return;
  }
  for (let at = 0; at < bytes.length; at += INPUT_BYTES) {
    const piece = bytes.subarray(at, at + INPUT_BYTES);
    const frame = new Uint8Array(piece.length + 1);

    frame[0] = FRAME_INPUT;
    frame.set(piece, 1);
    socket.send(frame);
  }
}

// ---- size ----

function sendSize() {
  if (!observing) tell({ type: "resize", cols: term.cols, rows: term.rows });
}

// Who only looks has the size of who types, and hears of a change by asking.
async function followSize() {
  const mine = turn;
  const info = attached && (await call("GET", `pty/${encodeURIComponent(id)}`).catch(() => null));

  if (info && mine === turn) term.resize(info.cols, info.rows);
}

function onResize() {
  clearTimeout(resizing);
  resizing = setTimeout(sendSize, RESIZE_MS);
}

// The keyboard of a phone may lie over the page without changing its height.
function onViewport() {
  document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
  scrollTo(0, 0);
}

// ---- the start ----

function listenToThePage() {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    term.options.theme = theme();
  });
  addEventListener("online", wake);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) wake();
  });
  addEventListener("hashchange", () => {
    const other = new URLSearchParams(location.hash.slice(1)).get("id");
    if (other !== id) open(other);
  });
  setInterval(() => {
    if (!document.hidden) probe();
  }, PROBE_MS);
  if (observing) setInterval(followSize, FOLLOW_MS);
  else new ResizeObserver(() => fit.fit()).observe($("screen"));
  visualViewport?.addEventListener("resize", onViewport);

  $("access").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value;
    sessionStorage.setItem("boxd-token", token);
    $("token").value = "";
    connect();
    term.focus();
  });
  // A key that took the focus would close the keyboard of a phone.
  $("keys").addEventListener("mousedown", (event) => event.preventDefault());
  $("keys").addEventListener("click", onKeysClick);
  $("choose").addEventListener("click", choose);
  $("close").addEventListener("click", () => $("terminals").close());
  $("new").hidden = observing;
  $("new").addEventListener("click", () => {
    $("terminals").close();
    open(null);
  });
  $("terminals").addEventListener("close", () => term.focus());
}

term.loadAddon(fit);
term.open($("screen"));
fit.fit();
term.onData(onText);
term.onBinary((text) => type(Uint8Array.from(text, (c) => c.charCodeAt(0))));
term.onResize(onResize);
term.onTitleChange((title) => showName(title || "Terminal"));
term.attachCustomKeyEventHandler(onKey);
term.textarea.setAttribute("autocapitalize", "none");
$("readonly").hidden = !observing;
document.body.toggleAttribute("data-readonly", observing);
listenToThePage();
// For scripts of users, and for tests.
window.boxdTerminal = term;
connect();
term.focus();
