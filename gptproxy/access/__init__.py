"""
Who is calling, and may they? A credential goes in, a :class:`Caller` comes out, or a Refusal.

The credential is taken from the request's headers alone (:mod:`~gptproxy.access.credential`). The kinds, in this order:
the pure proxy's bearer, which carries the caller's own Azure key; the operator's user tokens
(:mod:`~gptproxy.access.user_tokens`); CI id_tokens, which GitLab signed (:mod:`~gptproxy.access.id_token`); all others
of GitLab's, about which it is asked (:mod:`~gptproxy.access.gitlab`), once a minute at most for each
(:mod:`~gptproxy.access.verdicts`), few at a time (:mod:`~gptproxy.access.slots`), not for those who send many invalid
ones (:mod:`~gptproxy.access.invalid_limit`), and not while it is known to be away (:mod:`~gptproxy.access.outage`).
Whom the configuration's rules are about is told by :mod:`~gptproxy.access.membership`, for those who have come in by
:mod:`~gptproxy.access.reading`.
"""

from gptproxy.access.authenticator import Authenticator
from gptproxy.access.caller import Caller
from gptproxy.access.refusals import model_not_allowed

__all__ = ["Authenticator", "Caller", "model_not_allowed"]
