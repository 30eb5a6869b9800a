"""The rules about CI jobs: their project counts."""

from __future__ import annotations

from attrs import evolve

from gptproxy.access import Caller
from gptproxy.config import AllowSettings
from tests.access.rig import (
    ALICE,
    AUDIENCE,
    JOB,
    NOTES_JOB,
    SERVICE,
    TOPIC_JOB,
    AccessCase,
)
from tests.upstream.standins import Answer

ENGINEERING = AllowSettings(group="engineering")
DEVELOPERS = AllowSettings(group="engineering", min_access_level=30)
MAINTAINERS = AllowSettings(group="engineering", min_access_level=40)
APP = AllowSettings(project="engineering/web/app")


class JobTests(AccessCase):
    """CI credentials: the job's project counts."""

    def lets_in(self, token: str, *allow: AllowSettings, **settings: object) -> bool:
        self.make(*allow, audience=AUDIENCE, **settings)
        outcome: list[object] = []
        self.ask(token).addBoth(outcome.append)
        if isinstance(outcome[0], Caller):
            return True
        self.assertEqual(getattr(outcome[0], "value", None).status, 403)  # type: ignore[union-attr]
        return False

    def test_projects_and_groups(self) -> None:
        """The project itself or a group around it, by id or path; the same for both kinds of credential."""
        for job_token in (JOB, NOTES_JOB):
            id_token = self.gitlab.id_token(f"job={job_token}")
            app = job_token == JOB
            for rule, expected in (
                (APP, app),
                (AllowSettings(project="20"), app),
                (AllowSettings(project="21"), not app),
                (ENGINEERING, app),
                (AllowSettings(group="ENGINEERING/web"), app),
                (AllowSettings(group="engine"), False),
                (AllowSettings(group="alice"), not app),
                (AllowSettings(user="alice"), True),
                (AllowSettings(user="bob"), False),
            ):
                self.assertEqual(self.lets_in(job_token, rule), expected, rule)
                self.assertEqual(self.lets_in(id_token, rule), expected, rule)

    def test_groups_by_id(self) -> None:
        """An id_token names the nearest group's; others are looked up, or refused where nobody can."""
        token = self.gitlab.id_token(f"job={JOB}")
        nearest, above, other = (AllowSettings(group=number) for number in ("11", "10", "12"))
        self.assertTrue(self.lets_in(token, nearest))
        self.assertFalse(self.lets_in(JOB, nearest))
        for each in (token, JOB):
            self.assertFalse(self.lets_in(each, above))
            self.assertTrue(self.lets_in(each, above, service_token=SERVICE))
            self.assertFalse(self.lets_in(each, other, service_token=SERVICE))
            self.assertFalse(self.lets_in(each, AllowSettings(group="99"), service_token=SERVICE))

    def test_roles(self) -> None:
        """An id_token tells the user's role in the project; for a job token the service token must."""
        token = self.gitlab.id_token(f"job={JOB}")
        self.assertTrue(self.lets_in(token, DEVELOPERS))
        self.assertFalse(self.lets_in(token, MAINTAINERS))
        self.assertFalse(self.lets_in(JOB, DEVELOPERS))
        self.assertTrue(self.lets_in(JOB, DEVELOPERS, service_token=SERVICE))
        self.assertFalse(self.lets_in(JOB, MAINTAINERS, service_token=SERVICE))

    def test_protected_refs(self) -> None:
        """An id_token tells; of a job token the service token must."""
        rule = evolve(APP, protected_refs_only=True)
        for job_token, protected in ((JOB, True), (TOPIC_JOB, False)):
            token = self.gitlab.id_token(f"job={job_token}")
            self.assertEqual(self.lets_in(token, rule), protected)
            self.assertFalse(self.lets_in(job_token, rule))
            self.assertEqual(self.lets_in(job_token, rule, service_token=SERVICE), protected)
            self.assertTrue(self.lets_in(job_token, APP))
        self.make(rule)
        self.assertIn("on a protected branch", self.refusal(TOPIC_JOB).message)
        # Of people nothing of the sort is asked.
        self.assertEqual(self.caller(ALICE).name, "alice")

    def test_a_tag(self) -> None:
        """Tags are protected as tags; a strange name stays one segment of the path."""
        rule = evolve(APP, protected_refs_only=True)
        self.gitlab.instead = {
            "/api/v4/job": Answer(
                200,
                b'{"ref":"v1/../x?y","tag":true,"pipeline":{"project_id":20},'
                b'"user":{"id":1,"username":"alice","state":"active"},'
                b'"web_url":"http://127.0.0.1:8929/engineering/web/app/-/jobs/1"}',
            ),
            "/api/v4/projects/20/repository/tags/": Answer(200, b'{"protected":true}'),
        }
        self.assertTrue(self.lets_in(JOB, rule, service_token=SERVICE))
        self.assertEqual(
            self.gitlab.paths()[-1], "/api/v4/projects/20/repository/tags/v1%2F..%2Fx%3Fy"
        )
