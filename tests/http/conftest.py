"""Black-box tests of the daemon over HTTP: see harness.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import *  # noqa: E402,F401,F403
