"""The daemon in front of the sandbox's GitLab, as processes: every kind of credential, and GitLab stopped."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import openai
import pytest

from gptproxy.tryout import write_certificate
from tests.main_job.processes import running_daemon, running_sandbox

CONFIGURATION = """\
[gitlab]
url = "{gitlab}"
audience = "https://gpt.example.com"
cache_seconds = 0.001
service_token = {{env = "GPTPROXY_TEST_SERVICE"}}
[[gitlab.allow]]
group = "engineering"
min_access_level = "developer"

[[upstream]]
name = "primary"
kind = "azure"
url = "{azure}"
api_key = "azure-key-primary"
[upstream.deployments]
"gpt-4" = "gpt-4"
"""


def test_every_credential_and_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is known stays welcome when GitLab is stopped, though each call asks; strangers get 503, nobody 401."""
    monkeypatch.setenv("GPTPROXY_TEST_SERVICE", "glpat-sandbox-service")
    write_certificate(tmp_path)
    with running_sandbox() as sandbox:
        gitlab = sandbox.addresses["gitlab"]
        query = "job=glcbt-sandbox-alice&aud=https://gpt.example.com"
        with urlopen(f"{gitlab}/-/sandbox/id_token?{query}") as answer:
            id_token = json.loads(answer.read())["id_token"]
        known = ("glpat-sandbox-alice", "5a" * 32, "glcbt-sandbox-alice", id_token)
        config = tmp_path / "gptproxy.toml"
        config.write_text(CONFIGURATION.format(**sandbox.addresses))
        arguments = ("--config", str(config))
        with running_daemon(tmp_path, *arguments) as daemon, ExitStack() as stack:
            stack.callback(daemon.close_clients)

            def models(token: str) -> list[str]:
                client = daemon.client(token, max_retries=0)
                return [model.id for model in client.models.list()]

            for token in known:
                assert models(token) == ["gpt-4"], token
            with pytest.raises(openai.PermissionDeniedError, match="group engineering"):
                models("glpat-sandbox-bob")
            with pytest.raises(openai.AuthenticationError):
                models("glpat-mallory")
            # GitLab ends without a farewell.
            sandbox.kill()
            for _ in range(3):
                for token in known:
                    assert models(token) == ["gpt-4"], token
            for token in ("glpat-stranger", "glcbt-stranger"):
                with pytest.raises(openai.InternalServerError) as refused:
                    models(token)
                assert refused.value.status_code == 503
                assert int(refused.value.response.headers["retry-after"]) >= 5
            log = daemon.log()
    assert not any(token in log for token in (*known, "glpat-sandbox-service"))
