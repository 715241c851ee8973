// Makes the terminal page: build.mjs SOURCES MODULES OUT.
//
// Out of terminal.html, its style and its scripts, and those of xterm.js in MODULES, one page that asks
// for nothing more. The C source OUT holds it compressed, and what its answer has to carry: the hashes by
// which the browser knows the scripts, and the entity tag.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";

const [sources, modules, out] = process.argv.slice(2);
const hashes = [];

function read(dir, name) {
  return readFileSync(path.join(dir, name), "utf8").replace(/^\/\/# sourceMappingURL=.*$/gm, "").trim();
}

function script(text, attributes = "") {
  if (/<\/script|<!--/i.test(text)) throw new Error("a script would end early inside the page");
  hashes.push(`'sha256-${createHash("sha256").update(text).digest("base64")}'`);
  return `<script${attributes}>${text}</script>`;
}

function style(text) {
  if (/<\/style/i.test(text)) throw new Error("a style would end early inside the page");
  return `<style>\n${text}\n</style>`;
}

const xterm = [read(modules, "@xterm/xterm/lib/xterm.js"), read(modules, "@xterm/addon-fit/lib/addon-fit.js")].join("\n");
const own = ["keys.js", "list.js", "terminal.js"].map((name) => read(sources, name)).join("\n");
const parts = {
  license: `<!--\nHolds xterm.js:\n\n${read(modules, "@xterm/xterm/LICENSE").replaceAll("--", "- -")}\n-->`,
  style: style([read(modules, "@xterm/xterm/css/xterm.css").replace(/\/\*[^]*?\*\/\s*/g, ""), read(sources, "terminal.css")].join("\n")),
  script: `${script(xterm)}\n${script(own, ' type="module"')}`,
};
const page = Buffer.from(
  `${read(sources, "terminal.html").replace(/<!-- (license|style|script) -->/g, (_, name) => parts[name])}\n`);
const packed = gzipSync(page, { level: 9 });
const tag = createHash("sha256").update(page).digest("hex").slice(0, 32);

writeFileSync(out, `#include <stddef.h>
extern const unsigned char terminal_page[];
extern const size_t terminal_page_size;
extern const char terminal_page_scripts[];
extern const char terminal_page_tag[];
const unsigned char terminal_page[] = {${packed.join(",")}};
const size_t terminal_page_size = sizeof(terminal_page);
const char terminal_page_scripts[] = "${hashes.join(" ")}";
const char terminal_page_tag[] = "\\"${tag}\\"";
`);
