"""Messages that cannot be understood are refused with the field, the reason and the next step."""

import msgspec
import pytest

from jdq.worker.queue.contract import (
    ContractError,
    Extract,
    Ticket,
    UnknownSpec,
    decode_spec,
    decode_ticket,
    encode_spec,
    read_spec,
)

SPEC = Extract(dataset="d", version="v", encoder="hash:8")


def test_a_ticket_and_a_specification_come_back_as_they_were_sent() -> None:
    ticket = Ticket(job="extract-x")
    assert decode_ticket(msgspec.to_builtins(ticket)) == ticket
    assert decode_spec(encode_spec(SPEC)) == SPEC
    assert read_spec(encode_spec(SPEC)) == SPEC


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (None, "Expected `object`, got `null`"),
        ({}, "Object missing required field `job`"),
        ({"job": 1}, "Expected `str`, got `int` - at `$.job`"),
        ({"job": "x", "wonder": 1}, "Object contains unknown field `wonder`"),
    ],
)
def test_a_ticket_of_another_form_is_refused(message: object, problem: str) -> None:
    with pytest.raises(ContractError) as raised:
        decode_ticket(message)
    assert str(raised.value) == f"a ticket that this version of jdq does not understand: {problem}"


def test_a_specification_of_another_form_is_refused_with_the_next_step() -> None:
    with pytest.raises(ContractError) as raised:
        decode_spec('{"spec": "jdq.extract.v99"}')
    first, last = str(raised.value).split("\n")
    assert first.startswith("a job specification that this version of jdq does not understand; made by a newer jdq? ")
    assert "jdq.extract.v99" in first
    assert last == "  try: the same version of jdq for client and workers; see jdq workers"


@pytest.mark.parametrize(
    ("text", "dataset", "version"),
    [('{"spec": "new", "dataset": "d", "version": "v"}', "d", "v"), ('{"spec": "new"}', "-", "-"), ("{", "-", "-")],
)
def test_what_can_be_read_of_a_specification_of_another_form_is_shown(text: str, dataset: str, version: str) -> None:
    found = read_spec(text)
    assert isinstance(found, UnknownSpec)
    assert (found.dataset, found.version) == (dataset, version)
    assert found.problem.startswith("a job specification that this version of jdq does not understand")
