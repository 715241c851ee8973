#!/usr/bin/env python3
"""The tables of the README are what the program prints: no limit and no flag has a second home.

Between `<!-- generated: NAME -->` and the next `<!-- end -->` stands the output of
`boxd --print-NAME=markdown`, for every NAME below. Each section must be there exactly once.

  readme_tables.py BOXD README          one line per section that differs, status 1 if there is any
  readme_tables.py --write BOXD README  writes the sections anew
  readme_tables.py --self-test          feeds it READMEs that are right and wrong
"""

import re
import subprocess
import sys
from pathlib import Path

NAMES = ("limits", "flags")


def section(name):
    return re.compile(rf"(<!-- generated: {name} -->\n)(.*?)(<!-- end -->)", re.S)


def update(text, tables):
    """The text with its sections renewed, and what was wrong with it."""
    errors = []
    for name in NAMES:
        found = section(name).findall(text)
        if len(found) != 1:
            errors.append(f"{name}: {len(found)} sections, expected one")
            continue
        body = "\n" + tables[name].strip("\n") + "\n\n"
        if found[0][1] != body:
            errors.append(f"{name}: the table is not what --print-{name}=markdown prints; --write renews it")
        text = section(name).sub(lambda m, body=body: m.group(1) + body + m.group(3), text)
    return text, errors


def printed(boxd, name):
    run = subprocess.run([boxd, f"--print-{name}=markdown"], capture_output=True, text=True, timeout=30)
    if run.returncode != 0 or not run.stdout:
        sys.exit(f"{boxd} --print-{name}=markdown: status {run.returncode} {run.stderr.strip()}")
    return run.stdout


def self_test():
    tables = {"limits": "| a |\n", "flags": "| b\\1 |\n"}
    good = (
        "x\n<!-- generated: limits -->\n\n| a |\n\n<!-- end -->\ny\n"
        "<!-- generated: flags -->\n\n| b\\1 |\n\n<!-- end -->\nz\n"
    )
    cases = [  # text, number of complaints, text after --write
        (good, 0, good),
        (good.replace("| a |", "| old |"), 1, good),
        (good.replace("| a |\n\n", ""), 1, good),
        (good.replace("| b\\1 |", "| b |\n| c |"), 1, good),
        (good + good, 2, None),
        (good.replace("generated: flags", "generated: flag"), 1, None),
        ("", 2, ""),
    ]
    failed = 0
    for text, complaints, after in cases:
        new, errors = update(text, tables)
        if len(errors) != complaints or (after is not None and new != after):
            failed += 1
            print(f"expected {complaints} complaints, got {errors} for {text!r}")
    print(f"readme tables self-test: {len(cases) - failed} passed, {failed} failed")
    return failed != 0


def main():
    args = sys.argv[1:]
    if args == ["--self-test"]:
        return self_test()
    write = args[:1] == ["--write"]
    if len(args) != 2 + write:
        sys.exit(__doc__)
    boxd, readme = args[-2], Path(args[-1])
    old = readme.read_text()
    new, errors = update(old, {name: printed(boxd, name) for name in NAMES})
    if write:
        errors = [e for e in errors if "sections" in e]
        if new != old and not errors:
            readme.write_text(new)
    print(*errors, sep="\n", end="\n" if errors else "")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
