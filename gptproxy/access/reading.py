"""
Rules that are looked at after a caller has come in, when their token is gone.

May import the access and config rooms and Twisted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptproxy.access.caller import Caller, Identity
from gptproxy.access.gitlab import GitLab
from gptproxy.access.refusals import GitLabAway
from gptproxy.config import AllowSettings, GitLabSettings
from gptproxy.http.single_flight import SingleFlight

__all__ = ["Reading"]


@frozen
class _Question:
    identity: Identity
    rules: tuple[AllowSettings, ...]


class Reading:
    """
    :param gitlab: is asked, with the service token.
    :param settings: how long answers stand, and how many are kept.
    :param clock: for their age.
    """

    _log = Logger()

    def __init__(self, gitlab: GitLab, settings: GitLabSettings, clock: IReactorTime) -> None:
        self._gitlab = gitlab
        self._settings = settings
        self._clock = clock
        self._answers: OrderedDict[_Question, tuple[float, bool]] = OrderedDict()
        self._asking: SingleFlight[_Question, bool] = SingleFlight()

    async def allowed(self, caller: Caller, rules: Sequence[AllowSettings]) -> bool:
        """
        :param caller: somebody who came in.
        :param rules: one must be about them; none: everybody.
        :return: whether one is. What GitLab does not tell, or cannot now, is no.
        """
        if not rules or not caller.matched.isdisjoint(rules):
            return True
        # The others were looked at with the caller's own token.
        unknown = tuple(rule for rule in rules if rule not in self._gitlab.rules)
        if caller.identity is None or not unknown:
            return False
        question = _Question(caller.identity, unknown)
        now = self._clock.seconds()
        since, answer = self._answers.get(question, (0.0, False))
        age = now - since
        if 0 <= age < self._settings.cache_seconds and question in self._answers:
            self._answers.move_to_end(question)
            return answer
        try:
            return await self._asking.join(question, lambda: self._ask(question))
        except GitLabAway as away:
            self._log.warn("a membership could not be looked up: {cause}", cause=away.cause)
            return answer and 0 <= age < self._settings.grace_seconds

    async def _ask(self, question: _Question) -> bool:
        since = self._clock.seconds()
        standing = await self._gitlab.standing(question.identity, question.rules)
        answer = bool(standing.matched)
        self._answers[question] = since, answer
        self._answers.move_to_end(question)
        if len(self._answers) > self._settings.cache_size:
            self._answers.popitem(last=False)
        return answer
