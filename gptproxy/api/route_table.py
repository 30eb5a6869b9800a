"""
OpenAI's routes as an allow-list: what each reads, makes, names and lists.

Pure: imports nothing of gptproxy and nothing of Twisted. What does not stand here is 404, whatever the upstream would
say. ``{file}`` is the id of an object of the caller's; ``{_item}`` one that its parent in the path answers for.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from attrs import field, frozen

__all__ = ["ITEMS", "ROUTES", "Body", "ModelRule", "Operation", "Route"]


class Body(Enum):
    """What a request's body is. A JSON body is taken as :attr:`JSON` wherever a form is told here."""

    NONE = auto()
    JSON = auto()
    FORM = auto()
    """held, because the model's name is inside it"""
    UPLOAD = auto()
    """streamed through as it is"""
    CHECKED_UPLOAD = auto()
    """streamed through, its small fields being looked at: they may name objects"""


class ModelRule(Enum):
    """What a body says about a model."""

    NONE = auto()
    NEEDED = auto()
    DEFAULTED = auto()
    """where none is named, OpenAI takes its own, which changes from year to year"""
    OPTIONAL = auto()
    BASE = auto()
    """a model of the maker's that no deployment is needed for"""
    UNSEEN = auto()
    """models are used that the call does not name where they could be seen"""


@frozen
class Operation:
    """
    One method of a route.

    :param method: HTTP method; HEAD goes where GET does.
    :param body: what is read.
    :param model: whether the call names a model.
    :param creates: the kind of object whose ``id`` the answer tells.
    :param stores: ``creates`` holds only where the body's ``store`` is true; what it is taken for when it is absent.
        None: always.
    :param lists: the kind of object that the answer is a list of, to be filtered.
    :param claims: places in an answer about an object of the caller's, and the kind of object whose id stands there:
        what the upstream made for them. ``[]`` steps into a list.
    :param deletes: the object that the path ends in is gone afterwards.
    :param repeatable: may be sent again after an upstream may have worked on it.
    :param refused: the sentence that everybody is answered with.
    """

    method: bytes
    body: Body = Body.NONE
    model: ModelRule = ModelRule.NONE
    creates: str = ""
    stores: bool | None = None
    lists: str = ""
    claims: tuple[tuple[str, str], ...] = ()
    deletes: bool = False
    repeatable: bool = True
    refused: str = ""


@frozen
class Route:
    """
    :param path: OpenAI's path, for example ``/files/{file}``.
    :param operations: by method.
    :param deployment: Azure's classic path names the model's deployment before the route.
    """

    path: str
    operations: tuple[Operation, ...]
    deployment: bool = False
    segments: tuple[str, ...] = field(init=False)

    @segments.default
    def _split(self) -> tuple[str, ...]:
        return tuple(self.path.strip("/").split("/"))

    @property
    def names(self) -> tuple[int, ...]:
        """Which of the segments are ids of objects that must be the caller's."""
        return tuple(
            place
            for place, segment in enumerate(self.segments)
            if segment.startswith("{") and not segment.startswith("{_")
        )


_NO_WEBSOCKET: Final = (
    "This gateway does not relay WebSocket connections: use the routes of the REST API."
)
_NO_CALLS: Final = "This gateway does not relay realtime calls: their sound would go past it."
_BATCH_CLAIMS: Final = (("output_file_id", "file"), ("error_file_id", "file"))
_JOB_CLAIMS: Final = (("fine_tuned_model", "model"), ("result_files[]", "file"))
ITEMS: Final = ("output[].id", "item")
"""The claim of the routes that answer with items."""

_RESPONSE_CLAIMS: Final = (
    ITEMS,
    ("output[].container_id", "container"),
    ("conversation.id", "conversation"),
)


def _get(lists: str = "", claims: tuple[tuple[str, str], ...] = ()) -> Operation:
    return Operation(b"GET", lists=lists, claims=claims)


def _delete() -> Operation:
    return Operation(b"DELETE", deletes=True)


def _post(
    creates: str = "",
    *,
    body: Body = Body.JSON,
    model: ModelRule = ModelRule.NONE,
    claims: tuple[tuple[str, str], ...] = (),
    repeatable: bool | None = None,
) -> Operation:
    # What makes something is sent again only where it surely was not made.
    again = not creates if repeatable is None else repeatable
    return Operation(b"POST", body, model, creates, claims=claims, repeatable=again)


def _model(path: str, *, body: Body = Body.JSON, image: bool = False) -> Route:
    model = ModelRule.DEFAULTED if image else ModelRule.NEEDED
    return Route(path, (_post(body=body, model=model, repeatable=not image),), deployment=True)


def _of_object(path: str, *operations: Operation) -> Route:
    return Route(path, operations or (_get(),))


_MODEL_ROUTES: Final = (
    Route(
        "/chat/completions",
        (
            Operation(
                b"POST", Body.JSON, ModelRule.NEEDED, creates="chat_completion", stores=False
            ),
            _get(lists="chat_completion"),
        ),
        deployment=True,
    ),
    Route(
        "/responses",
        (
            Operation(
                b"POST",
                Body.JSON,
                ModelRule.DEFAULTED,
                creates="response",
                stores=True,
                claims=_RESPONSE_CLAIMS,
            ),
            Operation(b"GET", refused=_NO_WEBSOCKET),
        ),
    ),
    _model("/completions"),
    _model("/embeddings"),
    _model("/audio/speech"),
    _model("/images/generations", image=True),
    _model("/audio/transcriptions", body=Body.FORM),
    _model("/audio/translations", body=Body.FORM),
    _model("/images/edits", body=Body.FORM, image=True),
    _model("/images/variations", body=Body.FORM, image=True),
    Route("/moderations", (_post(model=ModelRule.OPTIONAL),)),
    Route("/responses/input_tokens", (_post(model=ModelRule.OPTIONAL),)),
    Route("/responses/compact", (_post(model=ModelRule.NEEDED),)),
)

_OBJECT_ROUTES: Final = (
    _of_object("/chat/completions/{completion}", _get(), _post(), _delete()),
    _of_object("/chat/completions/{completion}/messages"),
    _of_object("/responses/{response}", _get(claims=_RESPONSE_CLAIMS), _delete()),
    _of_object("/responses/{response}/cancel", _post()),
    _of_object("/responses/{response}/input_items"),
    _of_object("/conversations", _post("conversation")),
    _of_object("/conversations/{conversation}", _get(), _post(), _delete()),
    _of_object("/conversations/{conversation}/items", _get(), _post(repeatable=False)),
    _of_object("/conversations/{conversation}/items/{_item}", _get(), Operation(b"DELETE")),
    _of_object("/files", _get(lists="file"), _post("file", body=Body.UPLOAD)),
    _of_object("/files/{file}", _get(), _delete()),
    _of_object("/files/{file}/content"),
    _of_object("/uploads", _post("upload")),
    _of_object("/uploads/{upload}/parts", _post(body=Body.UPLOAD, repeatable=False)),
    _of_object(
        "/uploads/{upload}/complete", _post(claims=(("file.id", "file"),), repeatable=False)
    ),
    _of_object("/uploads/{upload}/cancel", _post()),
    _of_object(
        "/batches",
        _get("batch", _BATCH_CLAIMS),
        _post("batch", model=ModelRule.UNSEEN, claims=_BATCH_CLAIMS),
    ),
    _of_object("/batches/{batch}", _get(claims=_BATCH_CLAIMS)),
    _of_object("/batches/{batch}/cancel", _post(claims=_BATCH_CLAIMS)),
    _of_object(
        "/fine_tuning/jobs",
        _get("fine_tuning_job", _JOB_CLAIMS),
        _post("fine_tuning_job", model=ModelRule.BASE),
    ),
    _of_object("/fine_tuning/jobs/{job}", _get(claims=_JOB_CLAIMS)),
    *(
        _of_object(f"/fine_tuning/jobs/{{job}}/{act}", _post())
        for act in ("cancel", "pause", "resume")
    ),
    _of_object("/fine_tuning/jobs/{job}/events"),
    _of_object(
        "/fine_tuning/jobs/{job}/checkpoints",
        _get(claims=(("data[].fine_tuned_model_checkpoint", "model"),)),
    ),
    _of_object("/fine_tuning/alpha/graders/run", _post(model=ModelRule.UNSEEN)),
    _of_object("/fine_tuning/alpha/graders/validate", _post()),
    _of_object("/vector_stores", _get(lists="vector_store"), _post("vector_store")),
    _of_object("/vector_stores/{store}", _get(), _post(), _delete()),
    _of_object("/vector_stores/{store}/search", _post()),
    _of_object("/vector_stores/{store}/files", _get(), _post(repeatable=False)),
    _of_object("/vector_stores/{store}/files/{_file}", _get(), _post(), Operation(b"DELETE")),
    _of_object("/vector_stores/{store}/files/{_file}/content"),
    _of_object("/vector_stores/{store}/file_batches", _post(repeatable=False)),
    _of_object("/vector_stores/{store}/file_batches/{_batch}"),
    _of_object("/vector_stores/{store}/file_batches/{_batch}/cancel", _post()),
    _of_object("/vector_stores/{store}/file_batches/{_batch}/files"),
    _of_object("/containers", _get(lists="container"), _post("container")),
    _of_object("/containers/{container}", _get(), _delete()),
    _of_object(
        "/containers/{container}/files",
        _get(),
        _post(body=Body.CHECKED_UPLOAD, repeatable=False),
    ),
    _of_object("/containers/{container}/files/{_file}", _get(), Operation(b"DELETE")),
    _of_object("/containers/{container}/files/{_file}/content"),
    _of_object("/skills", _get(lists="skill"), _post("skill", body=Body.CHECKED_UPLOAD)),
    _of_object("/skills/{skill}", _get(), _post(), _delete()),
    _of_object("/skills/{skill}/content"),
    _of_object(
        "/skills/{skill}/versions", _get(), _post(body=Body.CHECKED_UPLOAD, repeatable=False)
    ),
    _of_object("/skills/{skill}/versions/{_version}", _get(), Operation(b"DELETE")),
    _of_object("/skills/{skill}/versions/{_version}/content"),
    _of_object("/evals", _get(lists="eval"), _post("eval", model=ModelRule.UNSEEN)),
    _of_object("/evals/{eval}", _get(), _post(), _delete()),
    _of_object("/evals/{eval}/runs", _get(), _post(model=ModelRule.UNSEEN, repeatable=False)),
    _of_object("/evals/{eval}/runs/{_run}", _get(), _post(), Operation(b"DELETE")),
    _of_object("/evals/{eval}/runs/{_run}/output_items"),
    _of_object("/evals/{eval}/runs/{_run}/output_items/{_item}"),
    _of_object("/audio/voices", _post("voice", body=Body.CHECKED_UPLOAD)),
    _of_object(
        "/audio/voice_consents",
        _get(lists="voice_consent"),
        _post("voice_consent", body=Body.CHECKED_UPLOAD),
    ),
    _of_object("/audio/voice_consents/{consent}", _get(), _post(), _delete()),
    _of_object(
        "/videos",
        _get(lists="video"),
        _post("video", body=Body.CHECKED_UPLOAD, model=ModelRule.UNSEEN),
    ),
    _of_object("/videos/characters", _post("character", body=Body.CHECKED_UPLOAD)),
    _of_object("/videos/characters/{character}"),
    *(
        _of_object(
            f"/videos/{act}", _post("video", body=Body.CHECKED_UPLOAD, model=ModelRule.UNSEEN)
        )
        for act in ("edits", "extensions")
    ),
    _of_object("/videos/{video}", _get(), _delete()),
    _of_object("/videos/{video}/content"),
    _of_object("/videos/{video}/remix", _post("video", body=Body.CHECKED_UPLOAD)),
    _of_object("/content_provenance_checks", _post(body=Body.CHECKED_UPLOAD, repeatable=False)),
    _of_object("/realtime", Operation(b"GET", refused=_NO_WEBSOCKET)),
    *(
        _of_object(f"/realtime/{act}", _post(model=ModelRule.UNSEEN, repeatable=False))
        for act in (
            "client_secrets",
            "sessions",
            "transcription_sessions",
            "translations/client_secrets",
        )
    ),
    _of_object("/realtime/calls", Operation(b"POST", refused=_NO_CALLS)),
    _of_object("/chatkit/sessions", _post("chatkit_session", model=ModelRule.UNSEEN)),
    _of_object("/chatkit/sessions/{session}/cancel", _post()),
    _of_object("/chatkit/threads", _get(lists="chatkit_thread")),
    _of_object("/chatkit/threads/{thread}", _get(), _delete()),
    _of_object("/chatkit/threads/{thread}/items"),
)

_ASSISTANT_ROUTES: Final = (
    _of_object(
        "/assistants",
        _get(lists="assistant"),
        _post("assistant", model=ModelRule.OPTIONAL),
    ),
    _of_object("/assistants/{assistant}", _get(), _post(model=ModelRule.OPTIONAL), _delete()),
    _of_object("/threads", _post("thread")),
    _of_object(
        "/threads/runs",
        _post("run", model=ModelRule.OPTIONAL, claims=(("thread_id", "thread"),)),
    ),
    _of_object("/threads/{thread}", _get(), _post(), _delete()),
    _of_object("/threads/{thread}/messages", _get(), _post(repeatable=False)),
    _of_object("/threads/{thread}/messages/{_message}", _get(), _post(), Operation(b"DELETE")),
    _of_object("/threads/{thread}/runs", _get(), _post(model=ModelRule.OPTIONAL, repeatable=False)),
    _of_object("/threads/{thread}/runs/{_run}", _get(), _post()),
    _of_object("/threads/{thread}/runs/{_run}/cancel", _post()),
    _of_object("/threads/{thread}/runs/{_run}/submit_tool_outputs", _post(repeatable=False)),
    _of_object("/threads/{thread}/runs/{_run}/steps"),
    _of_object("/threads/{thread}/runs/{_run}/steps/{_step}"),
)

ROUTES: Final[tuple[Route, ...]] = (*_MODEL_ROUTES, *_OBJECT_ROUTES, *_ASSISTANT_ROUTES)
"""All but the list of models, which is gptproxy's own."""
