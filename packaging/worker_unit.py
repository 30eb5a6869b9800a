"""
The template of services that share one port, made from gptproxy.service.

    python3 packaging/worker_unit.py FILE
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from gptproxy.setup_units import worker_unit

if __name__ == "__main__":
    service = (files("gptproxy.process") / "units" / "gptproxy.service").read_text("utf-8")
    Path(sys.argv[1]).write_text(worker_unit(service), "utf-8")
