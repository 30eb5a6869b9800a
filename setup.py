"""How gptproxy is built and installed. The packages are named by hand: ``twisted.plugins`` must be among them and must
not have an ``__init__.py``, so no search finds it without finding too much."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "gptproxy" / "__init__.py").read_text("utf-8").splitlines()
    if line.startswith("__version__")
)

setup(
    name="gptproxy",
    version=VERSION,
    description="Gateway for OpenAI clients to OpenAI or Azure OpenAI, opened with GitLab tokens",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[
        "gptproxy",
        "gptproxy.access",
        "gptproxy.api",
        "gptproxy.config",
        "gptproxy.http",
        "gptproxy.admin",
        "gptproxy.check",
        "gptproxy.knowledge",
        "gptproxy.knowledge.formats",
        "gptproxy.limits",
        "gptproxy.logs",
        "gptproxy.metrics",
        "gptproxy.process",
        "gptproxy.ownership",
        "gptproxy.sandbox",
        "gptproxy.upstream",
        "gptproxy.wire",
        "gptproxy.workers",
        "twisted.plugins",
    ],
    package_data={
        "gptproxy": ["py.typed"],
        "gptproxy.knowledge": ["*.sql"],
        "gptproxy.process": ["units/*"],
        "gptproxy.sandbox": ["documents/*.md"],
    },
    install_requires=[
        "twisted>=24.11.0",
        "treq>=24.9.1",
        "pyopenssl>=25.0.0",
        "service-identity>=24.2.0",
        "numpy>=2.2.4",
        "orjson>=3.10.7",
        "attrs>=25.3.0",
        # What documents are cut by; the daemon does not import them.
        "docutils>=0.21.2",
        "markdown-it-py>=3.0.0",
        "prometheus-client>=0.21.1",
        "pyjwt>=2.10.1",
    ],
    extras_require={
        # The client that `gptproxy try` prints a command for.
        "try": ["openai"],
        # A span for each call.
        "tracing": ["opentelemetry-api"],
        # PDF among the documents.
        "pdf": ["pypdf>=5.4.0"],
    },
    entry_points={"console_scripts": ["gptproxy = gptproxy.command:main"]},
    classifiers=[
        "Framework :: Twisted",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
    ],
)
