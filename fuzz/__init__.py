"""
Random bytes for everything that reads bytes of strangers, guided by coverage; bounded, and no test.

``python -m fuzz`` runs each of :data:`fuzz.targets.TARGETS` for its share of the time. An input is a finding when it
raises what nothing expects, is read differently in pieces than as a whole, costs more than its length allows, or is
read differently by an oracle without a reason in :mod:`tests.http.oracles`.
"""
