"""``python -m gptproxy``: the same as the ``gptproxy`` command."""

from __future__ import annotations

import sys

from gptproxy.command import main

if __name__ == "__main__":
    sys.exit(main())
