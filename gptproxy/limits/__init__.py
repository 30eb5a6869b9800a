"""
How much may they? Calls at a time, calls a minute, tokens a minute: of each caller, of each group, and in all.

Pure: imports the config and wire rooms; the time is passed in. :class:`Limits` admits a call or refuses it with 429 in
OpenAI's form; an :class:`Admission` is given back when the call has ended, with the tokens that it cost. Behind them
stand :class:`~gptproxy.limits.bucket.Bucket` and :class:`~gptproxy.limits.account.Account`, one for each who is
counted. :class:`Overload` says when the process has more to do than it can and new calls had better not be begun.
"""

from gptproxy.limits.admission import Admission, Limits
from gptproxy.limits.overload import Overload

__all__ = ["Admission", "Limits", "Overload"]
