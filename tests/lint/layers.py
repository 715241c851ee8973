#!/usr/bin/env python3
"""Who may include whom: DESIGN's layer table, checked on every file of src/ and include/boxd/.

A header of include/boxd belongs to the layer in whose folder the .c with its stem lies, and is held to
the same rule as that .c: a layer cannot borrow an edge through a header. A dialect's files (in a folder
of src/api) own no public header, so they may be called what the service they speak for is called.
Headers in src/ (x_internal.h) belong to their folder alone. Third-party headers have a fixed list of files that may see them, and an
angle-bracket header that no table here knows is refused: a new dependency is a decision.

  layers.py [ROOT]      checks the tree, one line per violation, status 1 if there is any
  layers.py --self-test feeds it trees that break one rule each, and one that breaks none
"""

import re
import sys
import tempfile
from pathlib import Path, PurePosixPath

# A layer may include itself, and these.
MAY_INCLUDE = {
    "core": set(),
    "os": {"core"},
    "proto": {"core"},
    "loop": {"core", "os"},
    "net": {"core", "proto", "loop"},
    "svc": {"core", "os", "loop", "proto"},
    "api": {"core", "proto", "loop", "net", "svc"},
    "main": {"core", "os", "proto", "loop", "net", "svc", "api"},
}

# Public headers without a .c of their own, and the layer they belong to.
HEADER_ONLY = {"cleanup.h": "core", "sysc.h": "os"}

# Third-party headers (a prefix of the include), and who sees them (prefixes of the path below src/).
THIRD_PARTY = {
    "cjson/": ("core/json.c",),
    "cJSON.h": ("core/json.c",),
    "event2/": ("loop/", "net/", "svc/"),
    "event.h": (),
    "evhttp.h": (),
    "nettle/": ("core/", "proto/ws_handshake.c"),
    "zlib.h": ("net/", "svc/"),
    "pcre2.h": ("svc/regex.c",),
    "seccomp.h": ("os/harden.c",),
    "sys/capability.h": ("os/harden.c",),
}

# The C library and the kernel. Missing on purpose: netdb.h, iconv.h, locale.h, wchar.h and dlfcn.h, behind
# which a static glibc would load the image's own code into the daemon.
SYSTEM = set(
    """assert.h ctype.h dirent.h elf.h endian.h errno.h fcntl.h float.h fnmatch.h grp.h inttypes.h limits.h
    math.h poll.h pthread.h pty.h pwd.h sched.h semaphore.h signal.h stdalign.h stdarg.h stdatomic.h stdbool.h
    stddef.h stdint.h stdio.h stdlib.h stdnoreturn.h string.h strings.h syscall.h termios.h threads.h time.h
    unistd.h immintrin.h emmintrin.h arm_neon.h""".split()
)
SYSTEM_FOLDERS = ("sys/", "linux/", "asm/", "arpa/", "net/", "netinet/")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


class Tree:
    def __init__(self, root):
        self.root = Path(root)
        self.src = self.root / "src"
        self.public = self.root / "include" / "boxd"
        self.errors = []
        self.homes = {}  # public header -> layer
        self.find_homes()

    def complain(self, path, line, text):
        self.errors.append(f"{path.relative_to(self.root)}:{line}: {text}")

    def layer_of(self, path):
        """The layer of a file below src/."""
        parts = path.relative_to(self.src).parts
        return "main" if parts == ("main.c",) else parts[0]

    def find_homes(self):
        sources = {}
        for path in sorted(self.src.glob("*/*.c")):
            if path.stem in sources:
                self.complain(path, 1, f"has the stem of {sources[path.stem].relative_to(self.root)}")
            sources.setdefault(path.stem, path)
        for path in sorted(self.public.rglob("*.h")):
            home = HEADER_ONLY.get(path.name)
            if path.stem in sources:
                home = self.layer_of(sources[path.stem])
            if home is None:
                self.complain(path, 1, f"no src/*/{path.stem}.c has this header for its own")
            elif path.parent != self.public:
                self.complain(path, 1, "public headers are flat, in include/boxd")
            self.homes[path.relative_to(self.root / "include").as_posix()] = home

    def check(self):
        for path in sorted([*self.src.rglob("*.[ch]"), *self.public.rglob("*.h")]):
            is_public = self.public in path.parents
            layer = self.homes[f"boxd/{path.name}"] if is_public else self.layer_of(path)
            if layer is None:
                continue  # already told
            if layer not in MAY_INCLUDE:
                self.complain(path, 1, f"src/{layer} is no layer")
                continue
            self.check_file(path, layer, is_public)
        return self.errors

    def check_file(self, path, layer, is_public):
        # Comments go, their line breaks stay: line numbers must hold.
        text = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), path.read_text())
        # Where third-party headers are concerned, a public header counts as its own .c.
        place = f"{layer}/{path.stem}.c" if is_public else path.relative_to(self.src).as_posix()
        names = []
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            name = match[2]
            names.append(name)
            if match[1] == "<":
                self.check_angle(path, line, name, place)
            elif name.startswith("boxd/"):
                self.check_edge(path, line, layer, name)
            elif is_public:
                self.complain(path, line, f'"{name}": a public header includes only public headers')
            else:
                self.check_internal(path, line, name)
        own = f"boxd/{path.stem}.h"
        owns = path.suffix == ".c" and path.parent.parent == self.src and own in self.homes
        if owns and (not names or names[0] != own):
            self.complain(path, 1, f'"{own}" is not the first include: nothing proves that it stands alone')

    def check_edge(self, path, line, layer, name):
        if name not in self.homes:
            self.complain(path, line, f'"{name}" does not exist')
            return
        home = self.homes[name]
        if home not in (None, layer) and home not in MAY_INCLUDE[layer]:
            self.complain(path, line, f'{layer} may not include "{name}", which is {home}')

    def check_internal(self, path, line, name):
        """x_internal.h: the same folder, or one above it in the same layer."""
        target = (path.parent / name).resolve()
        if self.src.resolve() not in target.parents or not target.exists():
            self.complain(path, line, f'"{name}" is neither public nor beside this file')
        elif not target.stem.endswith("_internal"):
            self.complain(path, line, f'"{name}": headers in src/ are named x_internal.h')
        elif target.parent not in path.resolve().parents:
            self.complain(path, line, f'"{name}" is internal to {target.parent.relative_to(self.src.resolve())}')

    def check_angle(self, path, line, name, place):
        for prefix, seen_by in THIRD_PARTY.items():
            if name.startswith(prefix):
                if not any(place.startswith(p) for p in seen_by):
                    where = ", ".join(f"src/{p}" for p in seen_by) or "nothing"
                    self.complain(path, line, f"<{name}> is for {where}")
                return
        if name not in SYSTEM and not name.startswith(SYSTEM_FOLDERS):
            self.complain(path, line, f"<{name}> is in no table of tests/lint/layers.py")


# --- self-test ---

GOOD = {
    "include/boxd/buf.h": "#include <stddef.h>\n",
    "include/boxd/cleanup.h": "",
    "include/boxd/child.h": '#include "boxd/buf.h"\n',
    "include/boxd/router.h": '#include "boxd/proc.h"\n#include "boxd/server.h"\n',
    "include/boxd/proc.h": '#include "boxd/child.h"\n',
    "include/boxd/server.h": "",
    "include/boxd/spawn.h": "",
    "src/core/buf.c": '#include "boxd/buf.h"\n#include "boxd/cleanup.h"\n',
    "src/core/json.c": "#include <cjson/cJSON.h>\n",
    "src/os/spawn.c": '#include "boxd/spawn.h"\n#include <linux/openat2.h>\n',
    "src/loop/child.c": '#include "boxd/child.h"\n#include <event2/event.h>\n#include "boxd/spawn.h"\n',
    "src/net/server.c": '#include "boxd/server.h"\n\n#include "net_internal.h"\n',
    "src/net/net_internal.h": '#include "boxd/child.h"\n',
    "src/svc/proc.c": '#include "boxd/proc.h"\n/* #include "boxd/server.h" */\n',
    "src/api/router.c": '#include "boxd/router.h"\n',
    "src/api/api_internal.h": "",
    "src/api/execd/proc.c": '#include "../api_internal.h"\n#include "boxd/router.h"\n',
    "src/main.c": '#include "boxd/router.h"\n#include "boxd/spawn.h"\n',
}

# What is added or replaced, and a part of the line that must come out.
BAD = [
    ({"src/core/buf.c": '#include "boxd/buf.h"\n#include "boxd/child.h"\n'}, "core may not include"),
    ({"src/os/spawn.c": '#include "boxd/spawn.h"\n#include "boxd/child.h"\n'}, "os may not include"),
    ({"src/net/server.c": '#include "boxd/server.h"\n#include "boxd/proc.h"\n'}, "net may not include"),
    ({"src/net/server.c": '#include "boxd/server.h"\n#include "boxd/spawn.h"\n'}, "net may not include"),
    ({"src/svc/proc.c": '#include "boxd/proc.h"\n  #  include "boxd/server.h"\n'}, "svc may not include"),
    ({"src/svc/proc.c": '#include "boxd/proc.h"\n#include "boxd/router.h"\n'}, "svc may not include"),
    ({"src/api/router.c": '#include "boxd/router.h"\n#include "boxd/spawn.h"\n'}, "api may not include"),
    ({"include/boxd/buf.h": '#include "boxd/proc.h"\n'}, "buf.h:1: core may not include"),
    ({"src/proto/sse.c": '#include "boxd/child.h"\n'}, "proto may not include"),
    ({"src/svc/fs.c": "#include <cjson/cJSON.h>\n"}, "<cjson/cJSON.h> is for src/core/json.c"),
    ({"src/os/users.c": "#include <event2/event.h>\n"}, "<event2/event.h> is for"),
    ({"src/net/conn.c": "#include <event2/http.h>\n#include <nettle/sha1.h>\n"}, "conn.c:2: <nettle/sha1.h>"),
    ({"src/proto/sse.c": "#include <zlib.h>\n"}, "<zlib.h> is for"),
    ({"src/svc/fs.c": "#include <netdb.h>\n"}, "<netdb.h> is in no table"),
    ({"src/svc/fs.c": "#include <openssl/ssl.h>\n"}, "<openssl/ssl.h> is in no table"),
    ({"include/boxd/lost.h": ""}, "no src/*/lost.c"),
    ({"src/svc/fs.c": '#include "boxd/nothing.h"\n'}, '"boxd/nothing.h" does not exist'),
    ({"src/svc/fs.c": '#include "../net/net_internal.h"\n'}, "is internal to net"),
    ({"src/api/e2b/fs.c": '#include "../execd/x_internal.h"\n', "src/api/execd/x_internal.h": ""}, "internal to api/execd"),
    ({"src/svc/fs.c": '#include "helpers.h"\n', "src/svc/helpers.h": ""}, "named x_internal.h"),
    ({"include/boxd/buf.h": '#include "../../src/net/net_internal.h"\n'}, "only public headers"),
    ({"src/core/buf.c": '#include <stddef.h>\n#include "boxd/buf.h"\n'}, "not the first include"),
    ({"src/util/misc.c": ""}, "src/util is no layer"),
    ({"src/svc/buf.c": '#include "boxd/buf.h"\n'}, "has the stem of"),
]


def run_on(files):
    with tempfile.TemporaryDirectory(dir=".") as root:
        for name, text in files.items():
            path = Path(root) / PurePosixPath(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Tree(root).check()


def self_test():
    failed = 0
    errors = run_on(GOOD)
    if errors:
        failed += 1
        print("a tree without violations is refused:", *errors, sep="\n  ")
    for change, expected in BAD:
        errors = run_on({**GOOD, **change})
        if len(errors) != 1 or expected not in errors[0]:
            failed += 1
            print(f"expected one line with {expected!r} for {change}, got {errors}")
    print(f"layers self-test: {len(BAD) + 1 - failed} passed, {failed} failed")
    return failed != 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    errors = Tree(root).check()
    print(*errors, sep="\n", end="\n" if errors else "")
    print(f"layers: {len(errors)} violations")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
