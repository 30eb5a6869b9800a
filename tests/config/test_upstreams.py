"""Tests of :mod:`gptproxy.config.upstreams`."""

from __future__ import annotations

import pytest

from gptproxy.config import EntraSettings, Secret
from tests.config.documents import DIRECTORY, azure, guarded, openai, problems, settings


@pytest.mark.parametrize(
    ("upstream", "url"),
    [
        (azure(), "https://gpt1.openai.azure.com"),
        (azure(resource="GPT1"), "https://gpt1.openai.azure.com"),
        (
            azure(resource=None, url="https://GPT1.openai.azure.com/"),
            "https://gpt1.openai.azure.com",
        ),
        (azure(resource=None, url="https://apim.corp.com/ai/"), "https://apim.corp.com/ai"),
        (azure(resource=None, url="http://127.0.0.1:8081"), "http://127.0.0.1:8081"),
        (openai(), "https://api.openai.com/v1"),
        (openai(url="https://api.openai.com"), "https://api.openai.com/v1"),
        (openai(url="https://eu.api.openai.com/v1/"), "https://eu.api.openai.com/v1"),
        (openai(url="http://10.1.2.3:8000/", api_key=None), "http://10.1.2.3:8000/v1"),
        (openai(url="https://llm.corp.com/api/v3"), "https://llm.corp.com/api/v3"),
    ],
)
def test_upstream_addresses(upstream: dict[str, object], url: str) -> None:
    """A resource's name becomes its address; openai's gets the version that it lacks."""
    assert settings(guarded(upstream)).upstreams[0].url == url


def test_order_is_kept() -> None:
    """Upstreams and deployments stay in the order written: it is the order of preference."""
    names = {name: name for name in "zaby"}
    found = settings(guarded(azure(name="z", deployments=names), azure(name="a"))).upstreams
    assert [upstream.name for upstream in found] == ["z", "a"]
    assert list(found[0].deployments) == list(names)


def test_tiers() -> None:
    """Without one it is the upstream's place in the list; the settings have the lowest first."""
    found = settings(guarded(azure(name="a", tier=7), azure(name="b"), openai(weight=3))).upstreams
    assert [(upstream.tier, upstream.weight) for upstream in found] == [(2, 1), (3, 3), (7, 1)]


def test_azure_v1() -> None:
    """Its api-version is v1 unless another is written."""
    found = settings(guarded(azure(api="v1"), azure(name="b", api="v1", api_version="preview")))
    assert [upstream.api_version for upstream in found.upstreams] == ["v1", "preview"]


def test_entra() -> None:
    """A secret, an assertion in a file, or the machine's own identity."""
    secret = {"client_secret": "Zk3vT9wq1LmXo27R", "authority": "https://login.corp.com/"}
    upstreams = [
        entra(**CLIENT, **secret) | {"name": "secret"},
        entra(**CLIENT, token_file="token") | {"name": "file"},
        entra(managed=True) | {"name": "managed"},
    ]
    found = [upstream.entra for upstream in settings(guarded(*upstreams)).upstreams]
    assert found == [
        EntraSettings(
            tenant="t",
            client_id="c",
            client_secret=Secret("Zk3vT9wq1LmXo27R"),
            authority="https://login.corp.com",
        ),
        EntraSettings(tenant="t", client_id="c", token_file=DIRECTORY / "token"),
        EntraSettings(managed=True),
    ]
    assert "Zk3vT9wq1LmXo27R" not in repr(found)


APP = {"IDENTITY_ENDPOINT": "http://127.0.0.1:41741/msi/token/", "IDENTITY_HEADER": "853b9a84-5bfa"}


def test_an_app_s_identity() -> None:
    """App Service says in the environment where its tokens are; what the file says goes before."""
    found = settings(guarded(entra(managed=True)), environ=APP).upstreams[0].entra
    assert found == EntraSettings(
        managed=True,
        managed_identity_url="http://127.0.0.1:41741/msi/token",
        identity_header=Secret("853b9a84-5bfa"),
    )
    assert "853b9a84" not in repr(found)
    written = entra(managed=True, managed_identity_url="http://169.254.169.254/t")
    secret = entra(**CLIENT, client_secret="Zk3vT9wq1LmXo27R")
    for upstream in (written, secret):
        told = settings(guarded(upstream), environ=APP).upstreams[0].entra
        assert told is not None
        assert told.identity_header is None
        assert "41741" not in told.managed_identity_url


@pytest.mark.parametrize(
    "environ",
    [
        {"IDENTITY_ENDPOINT": APP["IDENTITY_ENDPOINT"]},
        {"IDENTITY_HEADER": APP["IDENTITY_HEADER"]},
        {**APP, "IDENTITY_SERVER_THUMBPRINT": "ab12"},
    ],
)
def test_no_app_s_identity(environ: dict[str, str]) -> None:
    """Half of it is Azure Arc's, with a thumbprint it is Service Fabric's: other forms."""
    found = settings(guarded(entra(managed=True)), environ=environ).upstreams[0].entra
    assert found == EntraSettings(managed=True)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("IDENTITY_ENDPOINT", "127.0.0.1:41741", "IDENTITY_ENDPOINT must be http:// or https://"),
        ("IDENTITY_HEADER", "a b", "the environment variable IDENTITY_HEADER must be visible"),
    ],
)
def test_a_broken_app_s_identity(name: str, value: str, told: str) -> None:
    """It is told which variable is at fault, and not what stands in it."""
    (line,) = problems(guarded(entra(managed=True)), environ={**APP, name: value})
    assert line.startswith(f"gptproxy.toml: upstream[1].entra.managed: {told}")


def test_entra_must_be_guarded() -> None:
    """What opens the organisation's account is for nobody whom the gateway does not know."""
    (line,) = problems({"upstream": [entra(managed=True)]})
    assert line.startswith("gptproxy.toml: upstream[1].entra: nobody guards this key")


RESOURCE = (
    "must be an Azure resource's name, 1 to 63 letters, digits and hyphens; an address is a url"
)
EITHER = 'an azure upstream needs either resource = "NAME" or url = "https://..."'
URL = (
    "must be http:// or https:// and a host, then perhaps a port and a path; "
    "no user, query or fragment"
)
LOOPBACK = "must be https; http only on a loopback host"
DEPLOYMENT = "must be a deployment's name: 1 to 64 letters, digits, dots, underscores and hyphens"
NO_LINE = "an azure upstream needs at least one line: model = deployment"
NAME = "must be 1 to 64 letters, digits, dots, underscores and hyphens"
VERSION = "must be a date like 2023-05-15 (perhaps with -preview), v1, preview or latest"
ONLY_AZURE = "only an azure upstream has it"
KEYLESS = "missing; https://api.openai.com/v1 needs one, a server that needs none has a url"
KEYS = (
    "name, kind, resource, url, api_key, api_version, deployments, tier, weight, api, aliases, "
    "organization, project, entra"
)
KEY_MISSING = "missing; an azure upstream needs its key, or [upstream.entra]"
ONLY_OPENAI = "only an openai upstream has it"
ACCOUNT = "must be an id such as org-1a2b3c"
ONE_WAY = "must have exactly one of client_secret, token_file and managed = true"
ONLY_MANAGED = "missing; only a managed identity does without"
V1 = 'must be "v1", "preview" or "latest" where api = "v1"'
MODEL_NAME = "must be 1 to 256 visible ASCII characters without spaces"
SCOPE = 'must be like "https://cognitiveservices.azure.com/.default"'
CLIENT = {"tenant": "t", "client_id": "c"}
WHOLE = "must be from 1 to 1000"


def entra(**values: object) -> dict[str, object]:
    """:return: an azure upstream with this ``[upstream.entra]``."""
    return azure(api_key=None, entra=values)


ROOTED = "must end with the host; gptproxy adds the path"


@pytest.mark.parametrize(
    ("upstream", "lines"),
    [
        (azure(name=None), [".name: missing"]),
        (azure(name="a b"), [f".name: {NAME}"]),
        (azure(name="a\r\nx: y"), [f".name: {NAME}"]),
        (azure(name="a" * 65), [f".name: {NAME}"]),
        (azure(kind="azur"), ['.kind: must be "azure" or "openai"']),
        ({}, [".name: missing", ".kind: missing"]),
        (azure(resource="gpt1.evil.com"), [f".resource: {RESOURCE}"]),
        (azure(resource="gpt1\n"), [f".resource: {RESOURCE}"]),
        (azure(resource=None), [f": {EITHER}"]),
        (azure(url="https://gpt1.openai.azure.com"), [f": {EITHER}"]),
        (azure(resource=None, url="gpt1.openai.azure.com"), [f".url: {URL}"]),
        (azure(resource=None, url="http://gpt1.corp.com"), [f".url: {LOOPBACK}"]),
        (azure(resource=None, url="https://g.openai.azure.com/openai"), [f".url: {ROOTED}"]),
        (azure(api_key=None), [f".api_key: {KEY_MISSING}"]),
        (azure(api_key="..."), [".api_key: the value is a placeholder, not a secret"]),
        (azure(api_version="2023-5-15"), [f".api_version: {VERSION}"]),
        (azure(api_version="2023-05-15&x=y"), [f".api_version: {VERSION}"]),
        (azure(deployments=None), [f".deployments: missing; {NO_LINE}"]),
        (azure(deployments={}), [f".deployments: {NO_LINE}"]),
        (azure(deployments={"gpt-4": "a/b"}), [f".deployments.gpt-4: {DEPLOYMENT}"]),
        (
            azure(deployments={"gpt-4": "..", "x": "y", "gpt-3.5": "a?b"}),
            [f".deployments.gpt-4: {DEPLOYMENT}", f'.deployments."gpt-3.5": {DEPLOYMENT}'],
        ),
        (
            azure(deployments=None, deploymnets={}),
            ['.deploymnets: unknown key; did you mean "deployments"?'],
        ),
        (
            azure(resource=None, resuorce="gpt1"),
            ['.resuorce: unknown key; did you mean "resource"?'],
        ),
        (
            azure(kind=None, type="azure"),
            [
                f".type: unknown key; known here: {KEYS}",
                ".kind: missing",
            ],
        ),
        (openai(resource="gpt1"), [f".resource: {ONLY_AZURE}"]),
        (openai(api_version="v1"), [f".api_version: {ONLY_AZURE}"]),
        (openai(api_key=None), [f".api_key: {KEYLESS}"]),
        (openai(api_key=""), [".api_key: the value is empty"]),
        (openai(url="https://user:pass@llm.corp.com"), [f".url: {URL}"]),
        ("gpt1", [": must be a table, not text"]),
        (azure(tier=0, weight=0), [f".tier: {WHOLE}", f".weight: {WHOLE}"]),
        (azure(api="v2"), ['.api: must be "classic" or "v1"']),
        (azure(api="v1", api_version="2024-10-21"), [f".api_version: {V1}"]),
        (azure(organization="o"), [f".organization: {ONLY_OPENAI}"]),
        (openai(project="p\r\nx: y"), [f".project: {ACCOUNT}"]),
        (openai(api="v1"), [f".api: {ONLY_AZURE}"]),
        (azure(aliases={"a b": "c"}), ['.aliases."a b": ' + MODEL_NAME]),
        (azure(entra={"managed": True}), [".entra: must not stand beside api_key: one is enough"]),
        (entra(), [f".entra: {ONE_WAY}"]),
        (entra(managed=False), [f".entra: {ONE_WAY}"]),
        (entra(managed=True, token_file="t", **CLIENT), [f".entra: {ONE_WAY}"]),
        (
            entra(token_file="t"),
            [f".entra.tenant: {ONLY_MANAGED}", f".entra.client_id: {ONLY_MANAGED}"],
        ),
        (entra(managed=True, scope="https://a"), [f".entra.scope: {SCOPE}"]),
        (entra(managed=True, authority="http://login.corp.com"), [f".entra.authority: {LOOPBACK}"]),
    ],
)
def test_bad_upstreams(upstream: object, lines: list[str]) -> None:
    """Each fault of an upstream is told once, at its key, with all others."""
    assert problems(guarded(openai(), upstream)) == [
        f"gptproxy.toml: upstream[2]{line}" for line in lines
    ]
