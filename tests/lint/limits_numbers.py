#!/usr/bin/env python3
"""Every row of the limits table bounds something: its name is used in src/.

A limit that nothing reads is a promise nobody keeps, and one that only looks like a row (a LIMIT_ name
outside the table) does not compile. Comments and the table itself do not count as use.

  limits_numbers.py [ROOT]       one line per unused row, status 1 if there is any
  limits_numbers.py --self-test  feeds it tables with and without an unused row
"""

import re
import sys
import tempfile
from pathlib import Path

ROW = re.compile(r"^[ \t]*LIMIT\((\w+),[ \t]*(-?\w+),[ \t]*(-?\w+),[ \t]*(-?\w+),", re.M)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def check(root):
    """The number of rows, and what is wrong with them."""
    table = COMMENT.sub(" ", (root / "include/boxd/limits.h").read_text())
    source = " ".join(COMMENT.sub(" ", p.read_text()) for p in sorted((root / "src").rglob("*.[ch]")))
    used = set(re.findall(r"\bLIMIT_(\w+)\b", source))
    rows = ROW.findall(table)
    errors = [] if rows else ["limits.h: no row found"]
    for name, default, low, high in rows:
        if name not in used:
            errors.append(f"LIMIT_{name} is not used in src/")
        if not int(low, 0) <= int(default, 0) <= int(high, 0):
            errors.append(f"LIMIT_{name}: the default {default} is not within {low}..{high}")
    names = [row[0] for row in rows]
    errors += [f"LIMIT_{name} has two rows" for name in sorted(set(names)) if names.count(name) > 1]
    return len(rows), errors


def self_test():
    table = '#define LIMITS(LIMIT) \\\n\tLIMIT(A_MS, 5, 1, 9, "ms", "a") \\\n\tLIMIT(A, 1, 1, 1, "n", "b")\n'
    cases = [  # limits.h, src/x.c, what is complained about
        (table, "limit(LIMIT_A_MS) + limit(LIMIT_A)", []),
        (table, "limit(LIMIT_A_MS) /* LIMIT_A */ // LIMIT_A", ["LIMIT_A is not used in src/"]),
        (table, "limit(LIMIT_A)", ["LIMIT_A_MS is not used in src/"]),
        (table.replace("5, 1, 9", "0, 1, 9"), "LIMIT_A LIMIT_A_MS", ["LIMIT_A_MS: the default 0 is not within 1..9"]),
        (table.replace("A_MS", "A"), "LIMIT_A", ["LIMIT_A has two rows"]),
        ("", "LIMIT_A", ["limits.h: no row found"]),
    ]
    failed = 0
    for header, source, expected in cases:
        with tempfile.TemporaryDirectory(dir=".") as root:
            for name, text in (("include/boxd/limits.h", header), ("src/core/x.c", source)):
                path = Path(root) / name
                path.parent.mkdir(parents=True)
                path.write_text(text)
            errors = check(Path(root))[1]
        if errors != expected:
            failed += 1
            print(f"expected {expected}, got {errors} for {source!r}")
    print(f"limits self-test: {len(cases) - failed} passed, {failed} failed")
    return failed != 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    rows, errors = check(root)
    print(*errors, sep="\n", end="\n" if errors else "")
    print(f"limits: {rows} rows, {len(errors)} violations")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
