"""All that GitHub says of its events can be read, and nothing else is taken for one."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator

from cloister.errors import UsageError
from cloister.model.inbox import Arrived
from cloister.model.thread import PlaceKind
from cloister.triggers import check_payloads, payloads
from cloister.triggers.payloads import Payload, read_payload
from cloister.triggers.pointers import find_pointer

from .deliveries import examples, needs_npm, published

MODELS: dict[str, type[Payload]] = {
    "check_run": check_payloads.CheckRunPayload,
    "check_suite": check_payloads.CheckSuitePayload,
    "issue_comment": payloads.IssueCommentPayload,
    "issues": payloads.IssuesPayload,
    "pull_request": payloads.PullRequestPayload,
    "pull_request_review": payloads.ReviewPayload,
    "pull_request_review_comment": payloads.ReviewCommentPayload,
}


def arrived(kind: str, body: object) -> Arrived:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Arrived(id="1", kind=kind, body=raw, digest="", arrived_at=datetime.now(UTC))


@needs_npm
def test_every_published_example_is_read() -> None:
    read = [
        kind for kind, example in examples() if kind in MODELS and read_payload(MODELS[kind], arrived(kind, example))
    ]
    assert len(read) == 94
    assert set(read) == set(MODELS)


@needs_npm
def test_every_published_example_points_somewhere_or_nowhere() -> None:
    """Whatever GitHub tells of, it is read or left alone, and never a fault."""
    found = [find_pointer(arrived(kind, example)) for kind, example in examples()]
    assert len(found) > 300
    pointers = [it for it in found if it is not None]
    assert len(pointers) == 24
    assert {it.place.kind for it in pointers} == set(PlaceKind)
    assert {it.label for it in pointers if it.label}
    assert {it.assignee for it in pointers if it.assignee}


@needs_npm
def test_no_more_is_required_than_github_promises() -> None:
    """What may be absent, or null, by the description of the event is not missed."""
    document = published("schemas", "schema.json")
    valid = 0
    for kind, model in MODELS.items():
        validator = Draft7Validator(
            {**document["definitions"][f"{kind}_event"], "definitions": document["definitions"]}
        )
        example = next(it for name, it in examples() if name == kind and validator.is_valid(it))
        for path in _places(model, example):
            for changed in (_without(example, path), _without(example, path, None)):
                if validator.is_valid(changed):
                    valid += 1
                    read_payload(model, arrived(kind, changed))
    assert valid > 4, "the twin: something may be absent"


def _places(model: type[Any], example: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return where a model looks, as far as the example has it."""
    for name, field in model.model_fields.items():
        if name in example:
            yield (*above, name)
            parts = [it for it in (field.annotation, *get_args(field.annotation)) if isinstance(it, type)]
            below = next((it for it in parts if issubclass(it, payloads.Part)), None)
            if below is not None and isinstance(example[name], dict):
                yield from _places(below, example[name], (*above, name))


def _without(example: dict[str, Any], path: tuple[str, ...], *value: object) -> dict[str, Any]:
    """Return it without what is there, or with a value in its place."""
    changed = copy.deepcopy(example)
    at = changed
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    if value:
        at[path[-1]] = value[0]
    return changed


GOOD: dict[str, Any] = {
    "action": "created",
    "repository": {"id": 1, "full_name": "team/shop"},
    "sender": {"login": "ann", "type": "User"},
    "issue": {"number": 1},
    "comment": {"id": 2, "body": "hello"},
}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("repository", "full_name"), "team/shop/../../x"),
        (("repository", "full_name"), "shop"),
        (("repository", "full_name"), "team/shop\n"),
        (("repository", "id"), "1"),
        (("issue", "number"), -1),
        (("issue", "number"), 2**53),
        (("issue", "number"), True),
        (("comment", "body"), "x" * (payloads.MOST_TEXT + 1)),
        (("comment", "body"), ["x"]),
        (("sender", "login"), ""),
        (("sender",), None),
        (("action",), 1),
    ],
)
def test_what_is_not_as_github_says_is_the_end_of_it(place: tuple[str, ...], value: object) -> None:
    changed = copy.deepcopy(GOOD)
    at = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    with pytest.raises(UsageError, match="cannot be read"):
        read_payload(payloads.IssueCommentPayload, arrived("issue_comment", changed))
    assert read_payload(payloads.IssueCommentPayload, arrived("issue_comment", GOOD)), "the twin"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b"{", b'{"a":' * 5000])
def test_what_is_no_object_is_the_end_of_it(body: bytes) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_payload(payloads.IssueCommentPayload, arrived("issue_comment", body))
