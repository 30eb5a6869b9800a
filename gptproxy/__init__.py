"""gptproxy: a gateway between an organisation's OpenAI clients and OpenAI or Azure OpenAI."""

__version__ = "0.1.0"
__all__ = ["__version__"]
