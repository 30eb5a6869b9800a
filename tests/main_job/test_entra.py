"""Tokens of Entra ID in the place of a key, from each of the four that give them, in the whole daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gptproxy.sandbox.entra import ASSERTION, CLIENT_SECRET, IDENTITY_HEADER

from .conftest import WRITE_CERTIFICATE
from .processes import Sandbox, environment, running_daemon

TOKEN = "sk-user1-0123456789"
MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
UPSTREAM = """\
[[upstream]]
name = "{name}"
kind = "azure"
url = "{url}"
api_version = "2024-10-21"
deployments = {{ "{name}" = "gpt-4" }}
[upstream.entra]
{entra}
"""
APPLICATION = 'tenant = "contoso.com"\nclient_id = "app-1"\nauthority = "{url}"\n'
WAYS = {
    "secret": APPLICATION + f'client_secret = "{CLIENT_SECRET}"',
    "file": APPLICATION + 'token_file = "assertion"',
    "machine": 'managed = true\nmanaged_identity_url = "{url}/metadata/identity/oauth2/token"',
    "app": "managed = true",
}
ASKED = {
    "secret": "/contoso.com/oauth2/v2.0/token",
    "file": "/contoso.com/oauth2/v2.0/token",
    "machine": "/metadata/identity/oauth2/token",
    "app": "/msi/token",
}


def test_every_way(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One token for each upstream, whatever the number of calls."""
    url = sandbox.addresses["azure"]
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token/")
    monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
    upstreams = (
        UPSTREAM.format(name=name, url=url, entra=entra.replace("{url}", url))
        for name, entra in WAYS.items()
    )
    user = f'[[user_token]]\nuser_id = "user1"\ntoken = "{TOKEN}"\n'
    (tmp_path / "gptproxy.toml").write_text(user + "".join(upstreams))
    (tmp_path / "assertion").write_text(f"{ASSERTION}\n")
    subprocess.run(
        [sys.executable, "-c", WRITE_CERTIFICATE, str(tmp_path)], check=True, env=environment()
    )
    with running_daemon(tmp_path, "--config", "gptproxy.toml") as daemon:
        client = daemon.client(TOKEN)
        for name, asked in ASKED.items():
            sandbox.reset()
            for _ in range(2):
                raw = client.chat.completions.with_raw_response.create(
                    model=name, messages=MESSAGES
                )
                assert raw.headers["x-gptproxy-upstream"] == name
            paths = [str(seen["target"]).partition("?")[0] for seen in sandbox.requests("azure")]
            assert paths[0] == asked
            assert paths[1:] == ["/openai/deployments/gpt-4/chat/completions"] * 2
        daemon.close_clients()
        for secret in (CLIENT_SECRET, ASSERTION, IDENTITY_HEADER, "eyJ0eXAiOiJKV1Qi"):
            assert secret not in daemon.log()
