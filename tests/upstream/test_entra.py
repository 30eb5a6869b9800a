"""Tokens of Entra ID: where they are asked for, how long they are good, and what becomes of one that is refused."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost

from gptproxy.config import EntraSettings, Secret
from gptproxy.upstream import read_assertion
from gptproxy.upstream.entra import NoToken
from tests.upstream.entra_case import ASSERTION, CLIENT, MIDNIGHT, SECRET, TOKEN, EntraCase, granted
from tests.upstream.sender_case import error
from tests.upstream.standins import Answer, leaks


class EntraTokensTests(EntraCase):
    """Asking for them."""

    def test_client_credentials(self) -> None:
        """A form, POSTed to the tenant's token server."""
        token = self.successResultOf(self.ask(self.tokens(granted())))
        self.assertEqual(token, f"{TOKEN}-1".encode())
        (asked,) = self.server.asked
        self.assertEqual(asked.method, b"POST")
        self.assertEqual(asked.origin.host, "login.microsoftonline.com")
        self.assertEqual(asked.target, b"/contoso.com/oauth2/v2.0/token")
        assert asked.body is not None
        self.assertEqual(
            parse_qs(asked.body.decode()),
            {
                "grant_type": ["client_credentials"],
                "client_id": ["app-1"],
                "client_secret": [SECRET],
                "scope": ["https://cognitiveservices.azure.com/.default"],
            },
        )

    def test_workload_identity(self) -> None:
        """The assertion is read anew for each token."""
        entra = EntraSettings(tenant="t", client_id="c", token_file=Path("/var/token"))
        read: list[Path] = []

        def reading(path: Path) -> Deferred[bytes]:
            read.append(path)
            return succeed(ASSERTION.encode())

        tokens = self.tokens(granted(1, 1), granted(2), read=reading)
        for _ in range(2):
            self.successResultOf(self.ask(tokens, entra))
            self.clock.advance(2.0)
        self.assertEqual(read, [Path("/var/token")] * 2)
        assert self.server.asked[0].body is not None
        form = parse_qs(self.server.asked[0].body.decode())
        self.assertEqual(form["client_assertion"], [ASSERTION])
        self.assertNotIn("client_secret", form)

    def test_managed_identity(self) -> None:
        """The machine's own service is asked; its numbers are texts."""
        entra = EntraSettings(managed=True, managed_identity_url="http://127.0.0.1:1/token")
        tokens = self.tokens(granted(1, "3600"), granted(2, "3600"))
        self.successResultOf(self.ask(tokens, entra))
        (asked,) = self.server.asked
        self.assertEqual((asked.method, asked.origin.port), (b"GET", 1))
        self.assertEqual(
            asked.target,
            b"/token?api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com",
        )
        self.assertEqual(asked.values(b"metadata"), [b"true"])
        other = Deferred.fromCoroutine(tokens.token("other", evolve(entra, client_id="c-7")))
        self.successResultOf(other)
        self.assertIn(b"&client_id=c-7", self.server.asked[1].target)

    def test_an_app_s_identity(self) -> None:
        """App Service is shown its own header; it says when the token ends, not how long it lasts."""
        entra = EntraSettings(
            managed=True,
            managed_identity_url="http://127.0.0.1:2/msi/token",
            identity_header=Secret(SECRET),
        )
        first, second = (
            Answer(200, orjson.dumps({"access_token": f"{TOKEN}-{number}", "expires_on": ends}))
            for number, ends in ((1, str(MIDNIGHT + 3600)), (2, MIDNIGHT + 90_000))
        )
        tokens = self.tokens(first, second)
        self.assertTrue(self.successResultOf(self.ask(tokens, entra)).endswith(b"-1"))
        (asked,) = self.server.asked
        self.assertEqual((asked.method, asked.origin.port), (b"GET", 2))
        self.assertEqual(
            asked.target,
            b"/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fcognitiveservices.azure.com",
        )
        self.assertEqual(asked.values(b"x-identity-header"), [SECRET.encode()])
        self.assertEqual(asked.values(b"metadata"), [])
        self.clock.advance(3299)
        self.assertTrue(self.successResultOf(self.ask(tokens, entra)).endswith(b"-1"))
        self.assertEqual(len(self.server.asked), 1)
        self.clock.advance(302)
        self.assertTrue(self.successResultOf(self.ask(tokens, entra)).endswith(b"-2"))
        self.assertFalse(leaks(SECRET, entra, tokens, *self.events))

    def test_how_long_it_lasts_is_not_said(self) -> None:
        """Nor is it guessed: the token serves those who waited for it, and the next is fetched."""
        for lasts in ({}, {"expires_on": "12/31/2026 11:59:59 PM +00:00"}, {"expires_on": "1"}):
            answer = Answer(200, orjson.dumps({"access_token": f"{TOKEN}-1", **lasts}))
            tokens = self.tokens(answer, granted(2))
            self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-1"))
            self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-2"))

    def test_kept(self) -> None:
        """Until five minutes before its end it is just used; then the next is fetched while it is."""
        tokens = self.tokens(granted(1), granted(2))
        for now in (0, 3299):
            self.clock.advance(now)
            self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-1"))
        self.assertEqual(len(self.server.asked), 1)
        self.clock.advance(2)
        self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-1"))
        self.assertEqual(len(self.server.asked), 2)
        self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-2"))

    def test_the_same_token_again(self) -> None:
        """Is what a managed identity's service may give until late: it is not asked at every call."""
        tokens = self.tokens(*(granted(1, lasts) for lasts in (3600, 200, 170, 140)))
        self.successResultOf(self.ask(tokens))
        self.clock.advance(3400)
        for fetched in (2, 3, 4):
            for _ in range(5):
                self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-1"))
            self.assertEqual(len(self.server.asked), fetched)
            self.clock.advance(30)

    def test_fetched_ahead_in_vain(self) -> None:
        """The old one is used to its end; the token server is left alone for a few seconds."""
        tokens = self.tokens(granted(1), *[error(400)] * 2, granted(2))
        self.successResultOf(self.ask(tokens))
        self.clock.advance(3400)
        for _ in range(3):
            self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-1"))
        self.assertEqual(len(self.server.asked), 2)
        self.clock.advance(201)
        self.failureResultOf(self.ask(tokens), NoToken)
        self.failureResultOf(self.ask(tokens), NoToken)
        self.assertEqual(len(self.server.asked), 3)
        self.clock.advance(5)
        self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-2"))

    def test_a_fault_of_ours_ahead(self) -> None:
        """It is logged, and the token is used."""
        tokens = self.tokens(granted(1), ZeroDivisionError())
        self.successResultOf(self.ask(tokens))
        self.clock.advance(3400)
        self.successResultOf(self.ask(tokens))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_at_a_time(self) -> None:
        """All who need one wait for the same; who leaves takes nothing from the others."""
        tokens = self.tokens(None)
        asking = [self.ask(tokens) for _ in range(3)]
        self.assertEqual(len(self.server.asked), 1)
        asking[0].cancel()
        asking[0].addErrback(lambda _: None)
        self.assertEqual(self.server.dropped, 0)
        for each in asking[1:]:
            each.cancel()
            each.addErrback(lambda _: None)
        self.assertEqual(self.server.dropped, 1)

    def test_none(self) -> None:
        """What the log says has the error's code, and none of its words."""
        said = {"error": "invalid_client", "error_description": f"AADSTS7000215: {SECRET}"}
        refused = Answer(401, orjson.dumps(said))
        self.assertEqual(
            self.no_token(refused), "has no token: the token server answered 401, invalid_client"
        )
        for answer in (
            Answer(200, b"<html>"),
            Answer(200, b"[]"),
            Answer(200, b'{"access_token":1}'),
            Answer(200, b'{"access_token":"a b"}'),
            Answer(200, b'{"error":"A b"}'),
        ):
            self.assertEqual(self.no_token(answer), "has no token: the token server answered 200")
        self.assertEqual(self.no_token(*[ConnectionLost()] * 3), "has no token: ConnectionLost")

    def test_an_unreadable_file(self) -> None:
        """It is told as the operating system tells it."""
        entra = EntraSettings(tenant="t", client_id="c", token_file=Path("/nowhere/token"))

        async def reading(path: Path) -> bytes:
            return read_assertion(path)

        tokens = self.tokens(read=lambda path: Deferred.fromCoroutine(reading(path)))
        reason = str(self.failureResultOf(self.ask(tokens, entra), NoToken).value)
        self.assertEqual(reason, "has no token: token_file: No such file or directory")

    def test_a_file(self) -> None:
        """Without its line's end."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, "token")
        path.write_text(ASSERTION + "\n")
        self.assertEqual(read_assertion(path), ASSERTION.encode())

    def test_refused(self) -> None:
        """It is dropped once a minute at most; who was refused an older one just takes the new."""
        tokens = self.tokens(granted(1), granted(2), granted(3))
        first = self.successResultOf(self.ask(tokens))
        self.assertTrue(tokens.refused("primary", first))
        second = self.successResultOf(self.ask(tokens))
        self.assertTrue(tokens.refused("primary", first))
        self.assertFalse(tokens.refused("primary", second))
        self.assertEqual(self.successResultOf(self.ask(tokens)), second)
        self.clock.advance(60)
        self.assertTrue(tokens.refused("primary", second))
        self.assertTrue(self.successResultOf(self.ask(tokens)).endswith(b"-3"))

    def test_nothing_secret_is_shown(self) -> None:
        """Neither in a repr nor in the log."""
        tokens = self.tokens(granted(1))
        self.successResultOf(self.ask(tokens))
        self.assertFalse(leaks(TOKEN, tokens, vars(tokens), *self.events))
        self.assertFalse(leaks(SECRET, tokens, vars(tokens), CLIENT, *self.events))
