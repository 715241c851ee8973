// The list of the terminals there are. One module with terminal.js.

function describe(pty) {
  const button = document.createElement("button");
  const more = document.createElement("small");
  const does = pty.running ? "running" : pty.exit_code === undefined ? "not started" : "ended";

  button.type = "button";
  button.textContent = nameOf(pty);
  more.textContent = [does, pty.command, pty.cwd, pty.session_id].filter(Boolean).join(" \u00b7 ");
  button.append(more);
  if (pty.session_id === id) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => {
    $("terminals").close();
    if (pty.session_id !== id) open(pty.session_id);
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

async function choose() {
  $("terminals").showModal();
  $("terminals-error").hidden = true;
  try {
    $("list").replaceChildren(...(await call("GET", "pty")).map(describe));
    $("list").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  } catch (error) {
    $("list").replaceChildren();
    $("terminals-error").textContent = error.message;
    $("terminals-error").hidden = false;
  }
}
