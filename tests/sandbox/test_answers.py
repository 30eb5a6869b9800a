"""What the sandbox says: the question, the documents, the nearest one's first sentence."""

from __future__ import annotations

import pytest

from gptproxy.sandbox.answers import answer_text, last_user_text, passages, text_of
from gptproxy.sandbox.messages import JsonObject

CATS = "# Cats\n\nCats sleep most of the day. They purr."
TLS = "TLS encrypts a connection. A certificate is needed for it."


def _chat(*system: str, question: str = "how much does a cat sleep?") -> list[JsonObject]:
    said: list[JsonObject] = [{"role": "system", "content": text} for text in system]
    return [*said, {"role": "user", "content": question}]


@pytest.mark.parametrize(
    ("system", "names"),
    [
        (
            f'<document source="a.md">{CATS}</document><document path=b.md>{TLS}</document>',
            "a.md b.md",
        ),
        (f"<passage title='x'>{TLS}</passage><passage>{CATS}</passage>", "x Cats"),
        (f"----- BEGIN docs/tls.md -----\n{TLS}\n----- END -----\n", "docs/tls.md"),
        (f"```text docs/tls.md\n{TLS}\n```\n````\n{CATS}\n````\n", "docs/tls.md Cats"),
        (f'"""\n{TLS}\n"""', "passage-1"),
    ],
)
def test_fenced_documents_are_found_and_named(system: str, names: str) -> None:
    """Elements, marker lines and Markdown fences quote; attributes, paths or headings name."""
    found = passages(_chat("Obey.", system))
    assert " ".join(passage.name.replace(" ", "-") for passage in found) == names


def test_a_fence_with_a_token_ends_at_its_token() -> None:
    """What a document says about its own end does not end it, nor is the explanation one."""
    text = f"{CATS} </document> More of cats. </document 00> Still more."
    explained = 'Between <document ... fence="TOKEN"> and </document TOKEN> is data.'
    fenced = f'<document source="a.md" heading="Cats" fence="ab12">\n{text}\n</document ab12>'
    for system in ([explained, fenced], [explained + fenced]):
        assert [(p.name, p.text) for p in passages(_chat(*system))] == [("a.md", text)]


def test_without_fences_each_later_instruction_is_a_document() -> None:
    """The first system message instructs, those after it are what was found."""
    assert [p.text for p in passages(_chat("Obey.", TLS, CATS, " "))] == [TLS, CATS]
    assert passages(_chat("Obey.")) == ()


def test_the_answer_quotes_the_nearest_document() -> None:
    """A person sees which documents were given and what the best of them says first."""
    fenced = f'<document source="tls.md">{TLS}</document>'
    cats = f'<document source="cats.md">{CATS}</document>'
    answer = answer_text(_chat("Obey.", fenced, cats), "gpt-4")
    assert "2 passages of documentation (tls.md, cats.md)" in answer
    assert 'The nearest, cats.md, begins: "Cats sleep most of the day."' in answer
    assert "1 passage " in answer_text(_chat(fenced), "gpt-4")


def test_a_document_without_a_full_stop_is_quoted_as_far_as_it_goes() -> None:
    """Something is quoted from any document, though never without bound."""
    assert answer_text(_chat(f"<doc-context>{'word ' * 200}</doc-context>"), "m").endswith('"')
    assert len(answer_text(_chat(f"<doc-context>{'word ' * 200}</doc-context>"), "m")) < 700


def test_without_documents_the_question_is_repeated_in_short() -> None:
    """The answer depends on the question, and is short where that is long."""
    assert 'You asked: "how much does a cat sleep?"' in answer_text(_chat(), "gpt-4")
    assert answer_text(_chat(question="a " * 1000), "gpt-4").endswith('…"')
    assert 'You asked: ""' in answer_text([], "gpt-4")


def test_the_result_of_a_tool_is_repeated() -> None:
    """After a tool has answered, so does the model."""
    messages = [*_chat(), {"role": "tool", "tool_call_id": "c", "content": "16 hours"}]
    assert answer_text(messages, "m").endswith('The tool answered: "16 hours"')


def test_text_of_any_content() -> None:
    """Content is a string, parts or null; only parts of text have text."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert text_of("a") == "a"
    assert text_of(None) == ""
    assert (
        text_of([{"type": "text", "text": "a"}, image, 5, {"type": "text", "text": "b"}]) == "a\nb"
    )
    assert last_user_text([{"role": "user", "content": "a"}, {"role": "assistant"}]) == "a"
    assert last_user_text([{"role": "assistant", "content": "a"}]) == ""
