// What is typed, on a keyboard or on the keys below the terminal, which are for devices that lack them.
// One module with terminal.js.

let control = false; // the Ctrl key of the page is down

// The Ctrl key of the page goes with the next key, whichever keyboard that comes from.
function withControl(text) {
  if (!control || text.length > 3) return text; // a longer one was pasted, or is an answer of the terminal
  setControl(false);
  if (/^[@-_a-z]$/.test(text)) return String.fromCharCode(text.toUpperCase().charCodeAt(0) & 0x1f);
  if (text === "?") return "\x7f";
  return text.replace(/^\x1b[[O]([A-D])$/, "\x1b[1;5$1");
}

function setControl(on) {
  control = on;
  $("ctrl").setAttribute("aria-pressed", String(on));
}

function onText(text) {
  if (silent > 0) return;
  const keys = withControl(text);

  if (!pipe) type(encoder.encode(keys));
  else if (keys === "\x03") tell({ type: "signal", signal: "SIGINT" });
  else if (keys === "\x04") tell({ type: "eof" });
  else type(encoder.encode(keys.replaceAll("\r", "\n")));
}

function onKeysClick(event) {
  const { send, arrow } = event.target.dataset;

  if (event.target === $("ctrl")) setControl(!control);
  else if (send) term.input(send);
  else if (arrow) term.input((term.modes.applicationCursorKeysMode ? "\x1bO" : "\x1b[") + arrow);
  term.focus();
}

// Ctrl-Shift-C copies, as in other terminals; browsers have another use for it.
function onKey(event) {
  if (!(event.type === "keydown" && event.ctrlKey && event.shiftKey && event.code === "KeyC")) return true;
  event.preventDefault();
  document.execCommand("copy");
  return false;
}
