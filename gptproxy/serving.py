"""
All that depends on the configuration, made of it as one value: the next one stands beside it, and takes its place.

May import every room below, and Twisted. What lasts as long as the process is :class:`Ground`.
"""

from __future__ import annotations

import os
import random
from typing import Final, Generic, TypeVar

from attrs import frozen
from twisted.application.service import IService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.resource import Resource

from gptproxy.access import Authenticator
from gptproxy.api import Augmenter, Calls, Gate, Objects, Streams, api_tree
from gptproxy.api.first_run import FirstRun, still_to_fill
from gptproxy.config import AllowSettings, ConfigurationError, Problem, Settings
from gptproxy.figures import NOBODY, Figures
from gptproxy.http import Agent, ClientTimeouts, IReactor, OwnCalls
from gptproxy.limits import Limits, Overload
from gptproxy.ownership import ObjectTable
from gptproxy.stored_objects import stored_objects
from gptproxy.tls import client_trust
from gptproxy.upstream import EntraTokens, ModelList, Sender, read_assertion
from gptproxy.wire import Refusal

__all__ = ["FilesRead", "Ground", "Part", "Serving", "agent_for", "objects_meaning", "own_calls"]

_log = Logger()

# Chance for waits, not for secrets.
_chance = random.Random().random  # noqa: S311 - it spreads retries in time, nothing depends on it being unguessable

GITLAB_CONNECT_SECONDS: Final = 3.0
GITLAB_FIRST_BYTE_SECONDS: Final = 5.0
"""Both are bounds on one attempt of a call that may take five seconds in all."""

_T = TypeVar("_T")


def agent_for(settings: Settings, reactor: IReactor) -> Agent:
    """
    :param settings: the timeouts.
    :param reactor: connects.
    :return: the one client that everything goes out by.
    """
    return Agent(reactor, client_trust, _timeouts(settings))


def own_calls(agent: Agent, reactor: IReactor) -> OwnCalls:
    """
    :param agent: sends.
    :param reactor: for the clock.
    :return: what gptproxy asks by for itself.
    """
    return OwnCalls(agent, reactor, _chance)


class Ground:
    """
    What lasts as long as the process: kept connections, and whatever is counted.

    :param settings: the first.
    :param reactor: everything runs on it.
    :param calls: told of every call.
    :param figures: told of what happens.
    """

    def __init__(
        self, settings: Settings, reactor: IReactor, calls: Calls, figures: Figures = NOBODY
    ) -> None:
        self.reactor = reactor
        self.calls = calls
        self.figures = figures
        self.agent = agent_for(settings, reactor)
        # An agent of its own: who waits for a verdict waits shorter than for a model.
        timeouts = ClientTimeouts(
            connect=GITLAB_CONNECT_SECONDS, first_byte=GITLAB_FIRST_BYTE_SECONDS
        )
        self.gitlab_agent = Agent(reactor, client_trust, timeouts)
        self.own_calls = own_calls(self.agent, reactor)
        limits = settings.limits
        self.limits = Limits(None, None, (), reactor.seconds())
        self.overload = Overload(limits.lag_seconds, limits.memory_bytes)
        self.streams = Streams(limits.streams)
        self.bound_by(settings)

    def bound_by(self, settings: Settings) -> None:
        """
        :param settings: those in force from now on.
        """
        limits = settings.limits
        self.agent.timeouts = _timeouts(settings)
        groups = [(group.group, group.quota) for group in limits.groups]
        self.limits.bound_by(limits.everybody, limits.caller, groups, self.reactor.seconds())
        self.overload.bound_by(limits.lag_seconds, limits.memory_bytes)
        self.streams.most = limits.streams

    def close(self) -> None:
        """Drop the kept connections."""
        self.agent.close()
        self.gitlab_agent.close()


class Part(Generic[_T]):
    """
    What one serving hands on to the next, where it means the same to both. It runs while one of them uses it.

    :param meaning: what it was made of.
    :param value: what it is.
    :param service: runs it.
    """

    def __init__(self, meaning: object, value: _T, service: IService) -> None:
        self.meaning = meaning
        self.value = value
        self._service = service
        self._users = 0

    def take(self) -> None:
        """One more uses it."""
        self._users += 1
        if self._users == 1:
            self._service.startService()

    def release(self) -> Deferred[None] | None:
        """:return: fires when it has stopped, if nobody uses it any more."""
        self._users -= 1
        return maybeDeferred(self._service.stopService) if not self._users else None


@frozen
class FilesRead:
    """
    What was read for a serving, because reading may block.

    :param text: the configuration file's, to point at its lines; empty where there is none.
    :param table: who made which stored object, if it is another file than before.
    """

    text: str = ""
    table: ObjectTable | None = None


class Serving:
    """
    :param settings: the configuration.
    :param ground: what it stands on.
    :param read: files that it needs.
    :param before: the one whose place it takes: what means the same is taken over, and stays what it is if this one is
        not started after all.
    :raise ConfigurationError: the settings name what cannot be used.

    :ivar root: all routes.
    :ivar gate: where calls come in.
    """

    def __init__(
        self,
        settings: Settings,
        ground: Ground,
        read: FilesRead,
        before: Serving | None = None,
    ) -> None:
        self.settings = settings
        self.ground = ground
        self._parts: list[Part[object]] = []
        reactor, figures = ground.reactor, ground.figures
        self.authenticator = self._authenticator(before)
        tokens_meaning = {each.name: each.entra for each in settings.upstreams}
        self._tokens: tuple[object, EntraTokens]
        if before is not None and before._tokens[0] == tokens_meaning:
            self._tokens = before._tokens
        else:
            self._tokens = (tokens_meaning, _tokens(ground))
        self.sender = Sender(
            ground.agent,
            reactor,
            _chance,
            settings.retry,
            settings.stream,
            self._tokens[1],
            figures,
        )
        if before is not None:
            known = before.settings.upstreams
            self.sender.take_over(before.sender, [u.name for u in settings.upstreams if u in known])
        self.model_list: ModelList
        if before is not None and before.settings.upstreams == settings.upstreams:
            self.model_list = before.model_list
        else:
            self.model_list = ModelList(settings.upstreams, ground.own_calls, reactor, figures)
        groups = [group.group for group in settings.limits.groups]
        self.gate = Gate(
            reactor, ground.limits, ground.overload, groups, self.authenticator, ground.streams
        )
        self._embed_for: object = None
        self._searched: Part[object] | None = None
        augmenter = self._augmenter(before)
        # Last, because nothing may fail behind it.
        self._objects = self._stored_objects(before, read.table)
        self.root = self._tree(augmenter, read.text)

    def start(self) -> None:
        """Run what it needs."""
        for part in self._parts:
            part.take()
        if self._searched is not None:
            self._searched.value.embedding.embed_for = self._embed_for  # type: ignore[attr-defined]  # typed in documents, which brings numpy

    def stop(self) -> Deferred[list[tuple[bool, None]]]:
        """:return: fires when what nobody else uses has stopped."""
        stopping = [each for part in self._parts if (each := part.release()) is not None]
        return DeferredList(stopping, consumeErrors=True)

    async def retire(self) -> None:
        """Stop when the last call has ended: another one has taken the place."""
        await self.gate.when_empty()
        await self.stop()

    def _authenticator(self, before: Serving | None) -> Authenticator:
        settings, ground = self.settings, self.ground
        knowledge = settings.knowledge
        rules = [
            rule
            for collection in (knowledge.collections if knowledge else ())
            for rule in collection.allow
        ]
        rules += [AllowSettings(group=group.group) for group in settings.limits.groups]
        return Authenticator(
            user_tokens=settings.user_tokens,
            gitlab=settings.gitlab,
            calls=own_calls(ground.gitlab_agent, ground.reactor),
            pure_proxy=settings.access.pure_proxy,
            clock=ground.reactor,
            other_rules=rules,
            figures=ground.figures,
            before=before.authenticator if before is not None else None,
        )

    def _augmenter(self, before: Serving | None) -> Augmenter | None:
        settings, ground = self.settings, self.ground
        knowledge = settings.knowledge
        if knowledge is None or not settings.topics:
            return None
        # Before numpy is imported, once for all: a search that took all cores would take the reactor's too.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from gptproxy.documents import Searched, chat_topics, question_embedding

        try:
            embed_for = question_embedding(settings, knowledge, ground.own_calls, self._tokens[1])
        except Refusal as refusal:
            problem = Problem(settings.source, "knowledge.embedding_model", refusal.message)
            raise ConfigurationError([problem]) from refusal
        self._embed_for = embed_for
        meaning = (knowledge.database, knowledge.search_seconds)
        part = before._searched if before is not None else None
        if part is None or part.meaning != meaning:
            made = Searched(knowledge, ground.reactor, embed_for, ground.figures)
            part = Part(meaning, made, made.threads)
        self._searched = part
        self._parts.append(part)
        assert isinstance(part.value, Searched)  # noqa: S101 - told to mypy: the module is imported here alone
        return chat_topics(settings, knowledge, part.value, self.authenticator)

    def _stored_objects(
        self, before: Serving | None, table: ObjectTable | None
    ) -> Part[Objects] | None:
        meaning = objects_meaning(self.settings)
        part = before._objects if before is not None else None
        if part is None or part.meaning != meaning:
            objects = stored_objects(self.settings, self.ground.reactor, table)
            if objects is None:
                return None
            part = Part(meaning, objects, objects.ownership)
        self._parts.append(part)  # type: ignore[arg-type]  # a list of several kinds: only taken and released
        return part

    def _tree(self, augmenter: Augmenter | None, text: str) -> Resource:
        settings, ground = self.settings, self.ground
        root = api_tree(
            ground.reactor,
            settings,
            self.authenticator,
            self.sender,
            self.model_list,
            objects=self._objects.value if self._objects is not None else None,
            augmenter=augmenter,
            calls=ground.calls,
            gate=self.gate,
        )
        missing = still_to_fill(settings, text)
        for sentence in missing:
            _log.warn("not configured yet: fill in {sentence}", sentence=sentence)
        if missing:
            root.putChild(b"", FirstRun(missing))
        return root


def objects_meaning(settings: Settings) -> object:
    """
    :param settings: a configuration.
    :return: what tells whether stored objects are kept where another one keeps them.
    """
    return (settings.access.objects,) if settings.upstreams else None


def _timeouts(settings: Settings) -> ClientTimeouts:
    return ClientTimeouts(
        connect=settings.timeouts.connect_seconds, first_byte=settings.timeouts.first_byte_seconds
    )


def _tokens(ground: Ground) -> EntraTokens:
    reactor = ground.reactor
    return EntraTokens(
        ground.own_calls,
        reactor,
        lambda path: deferToThreadPool(reactor, reactor.getThreadPool(), read_assertion, path),
    )
