"""Jobs and workers of another version of jdq: they are listed as such, and hide no other."""

import hashlib
import json

import msgspec
import pytest

from jdq.worker.queue.contract import PROTOCOL, ContractError, JobState, Spec, Ticket, UnknownSpec
from tests.queue.ledgers import SPEC, OwnQueue, taken

NEWER = '{"spec": "jdq.train-head.v9", "dataset": "d", "version": "v", "wonder": 1}'


def test_a_job_with_a_newer_specification_is_listed_with_its_dataset(queue: OwnQueue) -> None:
    job = queue.job()
    other = queue.job()
    queue.client.hset(f"jdq:job:{job}", "spec", NEWER)
    found = {each.id: each for each in queue.jobbook.jobs()}
    spec = found[job].spec
    assert isinstance(spec, UnknownSpec)
    assert (spec.dataset, spec.version, found[job].state) == ("d", "v", JobState.QUEUED)
    assert "made by a newer jdq" in spec.problem
    assert found[other].spec == SPEC


def test_a_worker_leases_a_job_of_a_newer_version_to_fail_it(queue: OwnQueue) -> None:
    job = queue.job()
    queue.client.hset(f"jdq:job:{job}", "spec", NEWER)
    lease = taken(queue.ledger("a"), job)
    with pytest.raises(ContractError, match="made by a newer jdq"):
        _ = lease.spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "paused"),
        ("spec", None),
        ("created", "soon"),
        ("chunks_done", "many"),
        ("error", "{}"),
        ("result", "{"),
    ],
)
def test_a_job_with_entries_of_another_form_is_unreadable_and_hides_no_other(
    queue: OwnQueue, field: str, value: str | None
) -> None:
    job = queue.job()
    other = queue.job()
    if value is None:
        queue.client.hdel(f"jdq:job:{job}", field)
    else:
        queue.client.hset(f"jdq:job:{job}", field, value)
    found = {each.id: each for each in queue.jobbook.jobs()}
    assert (found[job].state, found[other].state) == (JobState.UNREADABLE, JobState.QUEUED)
    assert found[job].kind == "train-head"
    error = found[job].error
    assert error is not None
    assert "not those of this version of jdq" in error.message


@pytest.mark.parametrize("part", ["holders", "live", "log", "after", "delayed"])
def test_a_part_of_a_wrong_type_or_that_is_no_json_makes_one_job_unreadable(queue: OwnQueue, part: str) -> None:
    job = queue.job()
    queue.jobbook.create(SPEC)
    queue.client.set(f"jdq:job:{job}:{part}", "text")
    assert sorted(each.state for each in queue.jobbook.jobs()) == ["queued", "unreadable"]


def test_a_hash_of_a_wrong_type_makes_one_job_unreadable(queue: OwnQueue) -> None:
    job = queue.job()
    queue.jobbook.create(SPEC)
    queue.client.delete(f"jdq:job:{job}")
    queue.client.set(f"jdq:job:{job}", "text")
    assert sorted(each.state for each in queue.jobbook.jobs()) == ["queued", "unreadable"]


def test_a_worker_of_another_version_is_listed_with_what_it_says(queue: OwnQueue) -> None:
    queue.ledger("new").heartbeat({"queue": "cpu", "host": "h", "version": "9.0", "protocol": 9, "wonder": [1]})
    queue.ledger("old").heartbeat({"queue": "cpu", "host": "h", "pid": 3, "device": "cpu", "started": 0})
    queue.ledger("strange").heartbeat({"queue": 7})
    queue.client.hset("jdq:workers", "no json", b"\xff\xfe")
    queue.client.zadd("jdq:workers:seen", {"no json": 10**15})
    found = {worker.name: (worker.version, worker.protocol, worker.state) for worker in queue.jobbook.workers()}
    assert found == {
        "new": ("9.0", 9, "idle"),
        "old": ("-", 0, "idle"),
        "strange": ("-", 0, "unreadable"),
        "no json": ("-", 0, "unreadable"),
    }


def test_a_change_of_a_message_gets_a_new_protocol_number() -> None:
    def bare(schema: object) -> object:
        """The schema without what people read in it."""
        if isinstance(schema, dict):
            return {name: bare(value) for name, value in schema.items() if name != "description"}
        return [bare(each) for each in schema] if isinstance(schema, list) else schema

    schemas = msgspec.json.schema_components([Spec, Ticket])
    digest = hashlib.blake2b(json.dumps(bare(list(schemas)), sort_keys=True).encode(), digest_size=4).hexdigest()
    # Differs? Raise PROTOCOL, once per release, and put the new digest here.
    assert (PROTOCOL, digest) == (1, "c29d41be")
