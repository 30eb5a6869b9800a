"""
What every test starts from.

Who starts the tests in the background may have had signals ignored for them, as ``nohup`` and ``sh -c '... &'`` do;
processes that the tests start would inherit that, and Ctrl-C would not end them.
"""

from __future__ import annotations

import signal

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(
            number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
        )
