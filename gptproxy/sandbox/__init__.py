"""Stand-ins on this machine for OpenAI, Azure OpenAI and GitLab.

They let a person try the product without a key, and let the tests meet what the real services do:
streams with their usage, tool calls, Azure's content filter in all its shapes, limits, errors,
connections that break. ``python -m gptproxy.sandbox`` starts them as one process.

What is said is decided by pure modules: `embeddings` (vectors that make a search meaningful),
`answers`, `completions`, `chunks`, `tools` and `operations` (what both families of sites can do),
`azure` (what Azure adds), `openai_site`, `azure_site` and `gitlab` (routes, keys, errors),
`faults`, `fault_answers` and `staging` (what goes wrong, and how an answer is sent), `ledger` and
`control` (what a test may ask and command). `performance` sends it and `server` listens, on
Twisted's own HTTP server.

This room imports nothing of the others, and only tests and the ``try`` command use it.
"""

from __future__ import annotations

from gptproxy.sandbox.faults import ROLES
from gptproxy.sandbox.server import Listeners, Sandbox, listen

__all__ = ["ROLES", "Listeners", "Sandbox", "listen"]
