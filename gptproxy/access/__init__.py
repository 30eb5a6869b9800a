"""
Who is calling, and may they? A credential goes in, a :class:`Caller` comes out, or a Refusal.

The credential is taken from the request's headers alone (:mod:`~gptproxy.access.credential`). Three kinds are known, in
this order: the pure proxy's bearer, which carries the caller's own Azure key; the operator's user tokens; and GitLab's
tokens, about which GitLab is asked (:mod:`~gptproxy.access.gitlab`), once a minute at most for each
(:mod:`~gptproxy.access.verdicts`).
"""

from gptproxy.access.authenticator import Authenticator
from gptproxy.access.caller import Caller
from gptproxy.access.gitlab import GitLab

__all__ = ["Authenticator", "Caller", "GitLab"]
