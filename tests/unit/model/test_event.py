import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.event import Event, event_to_fields, fields_to_event

SECONDS = st.floats(min_value=0, allow_infinity=False)


def made(name: str) -> st.SearchStrategy[Event]:
    kind = Event.by_name[name]
    given = {"seconds": SECONDS} if "seconds" in kind.__annotations__ else {}
    return st.builds(kind, **given)


EVENTS = st.sampled_from(sorted(Event.by_name)).flatmap(made)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(KeyError):
        fields_to_event("task_exploded", {})


@given(EVENTS)
def test_an_event_survives_the_log(event: Event) -> None:
    line = json.dumps(event_to_fields(event))
    again = fields_to_event(event.wire_name, json.loads(line))
    assert again == event
    assert type(again) is type(event)


@given(EVENTS)
def test_a_field_of_a_newer_version_is_left_out(event: Event) -> None:
    assert fields_to_event(event.wire_name, {**event_to_fields(event), "added_later": 1}) == event


def test_names_are_the_classes_in_snake_case() -> None:
    assert all(kind.__name__ == "".join(map(str.capitalize, name.split("_"))) for name, kind in Event.by_name.items())
    assert all(dataclasses.is_dataclass(kind) for kind in Event.by_name.values())
