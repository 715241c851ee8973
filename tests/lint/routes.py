#!/usr/bin/env python3
"""Every route has a line in the README's API table and an operation in the OpenAPI document, and
neither of them has one that does not exist.

    routes.py [ROOT]       checks the tree
    routes.py --self-test  shows the check what it exists for
"""

import json
import pathlib
import re
import sys

ROW = re.compile(r'\{HTTP_([A-Z]+),\s*"([^"]+)",\s*([A-Z_0-9 |]+),\s*(\w+)\}')
README_ROW = re.compile(r"^\| `([A-Z]+) ([^?`]+)[^`]*` \|", re.M)


def shape(path):
    """Names of parameters do not matter."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def routes(sources):
    """What the tables in the source say; what this build does not have is left out."""
    rows = (ROW.findall(text) for text in sources)
    return {(method, shape(path)) for table in rows for method, path, flags, _ in table if "ROUTE_MISSING" not in flags}


def documented(openapi):
    return {(method.upper(), shape(path)) for path, item in json.loads(openapi)["paths"].items() for method in item}


def listed(readme):
    return {(method, shape(path)) for method, path in README_ROW.findall(readme)}


def problems(sources, openapi, readme):
    have = routes(sources)
    if not have:
        return ["no routes were found"]
    out = []
    for name, said in (("src/api/openapi.json", documented(openapi)), ("README.md", listed(readme))):
        out += [f"{name}: {m} {p} is missing" for m, p in sorted(have - said)]
        out += [f"{name}: {m} {p} does not exist" for m, p in sorted(said - have)]
    return out


def self_test():
    source = '''{HTTP_GET, "/a", 0, a},\n{HTTP_POST, "/b/{}/c", ROUTE_BODY, b},\n{HTTP_GET, "/no/*", ROUTE_MISSING, NULL},'''
    openapi = json.dumps({"paths": {"/a": {"get": {}}, "/b/{id}/c": {"post": {}}}})
    readme = "| `GET /a` | x |\n| `POST /b/{id}/c?since=` | x |\n"
    cases = [
        ("all agree", [source], openapi, readme, 0),
        ("README lacks one", [source], openapi, "| `GET /a` | x |\n", 1),
        ("OpenAPI lacks one", [source], json.dumps({"paths": {"/a": {"get": {}}}}), readme, 1),
        ("README has too many", [source], openapi, readme + "| `GET /z` | x |\n", 1),
        ("other method", [source.replace("HTTP_GET", "HTTP_PUT")], openapi, readme, 4),
        ("no routes", [""], openapi, readme, 1),
    ]
    bad = [name for name, s, o, r, n in cases if len(problems(s, o, r)) != n]
    for name in bad:
        print(f"routes self-test: {name}: not as expected")
    print(f"routes self-test: {len(cases) - len(bad)} passed, {len(bad)} failed")
    return 1 if bad else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    found = problems([p.read_text() for p in sorted((root / "src/api").rglob("*.c"))],
                     (root / "src/api/openapi.json").read_text(), (root / "README.md").read_text())
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
