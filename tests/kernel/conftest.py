"""Black-box tests of what the daemon does with the kernel: hooks and fixtures are shared."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http"))
from harness import *  # noqa: E402,F401,F403
