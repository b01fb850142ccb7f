"""Jobs and workers of another version of jdq: they are listed as such, and hide no other."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
import redis

from jdq.worker.queue.contract import PROTOCOL, ContractError, JobState, Spec, Ticket, UnknownSpec
from jdq.worker.queue.jobbook import JobBook
from tests.queue.conftest import SPEC
from tests.queue.ledgers import LedgerOf, taken

NEWER = '{"spec": "jdq.train-head.v9", "dataset": "d", "version": "v", "wonder": 1}'


def test_a_job_with_a_newer_specification_is_listed_with_its_dataset(jobbook: JobBook, client: redis.Redis) -> None:
    job, _ = jobbook.create(SPEC)
    other, _ = jobbook.create(SPEC)
    client.hset(f"jdq:job:{job}", "spec", NEWER)
    found = {each.id: each for each in jobbook.jobs()}
    spec = found[job].spec
    assert isinstance(spec, UnknownSpec)
    assert (spec.dataset, spec.version, found[job].state) == ("d", "v", JobState.QUEUED)
    assert "made by a newer jdq" in spec.problem
    assert found[other].spec == SPEC


def test_a_worker_leases_a_job_of_a_newer_version_to_fail_it(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    job, _ = jobbook.create(SPEC)
    client.hset(f"jdq:job:{job}", "spec", NEWER)
    lease = taken(ledger_of("a"), job)
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
    jobbook: JobBook, client: redis.Redis, field: str, value: str | None
) -> None:
    job, _ = jobbook.create(SPEC)
    other, _ = jobbook.create(SPEC)
    if value is None:
        client.hdel(f"jdq:job:{job}", field)
    else:
        client.hset(f"jdq:job:{job}", field, value)
    found = {each.id: each for each in jobbook.jobs()}
    assert (found[job].state, found[other].state) == (JobState.UNREADABLE, JobState.QUEUED)
    assert found[job].kind == "train-head"
    error = found[job].error
    assert error is not None
    assert "not those of this version of jdq" in error.message


@pytest.mark.parametrize("part", ["holders", "live", "log", "after", "delayed"])
def test_a_part_of_a_wrong_type_or_that_is_no_json_makes_one_job_unreadable(
    jobbook: JobBook, client: redis.Redis, part: str
) -> None:
    job, _ = jobbook.create(SPEC)
    jobbook.create(SPEC)
    client.set(f"jdq:job:{job}:{part}", "text")
    assert sorted(each.state for each in jobbook.jobs()) == ["queued", "unreadable"]


def test_a_hash_of_a_wrong_type_makes_one_job_unreadable(jobbook: JobBook, client: redis.Redis) -> None:
    job, _ = jobbook.create(SPEC)
    jobbook.create(SPEC)
    client.delete(f"jdq:job:{job}")
    client.set(f"jdq:job:{job}", "text")
    assert sorted(each.state for each in jobbook.jobs()) == ["queued", "unreadable"]


def test_a_worker_of_another_version_is_listed_with_what_it_says(
    jobbook: JobBook, ledger_of: LedgerOf, client: redis.Redis
) -> None:
    ledger_of("new").heartbeat({"queue": "cpu", "host": "h", "version": "9.0", "protocol": 9, "wonder": [1]})
    ledger_of("old").heartbeat({"queue": "cpu", "host": "h", "pid": 3, "device": "cpu", "started": 0})
    ledger_of("strange").heartbeat({"queue": 7})
    client.hset("jdq:workers", "no json", b"\xff\xfe")
    client.zadd("jdq:workers:seen", {"no json": 10**15})
    found = {worker.name: (worker.version, worker.protocol, worker.state) for worker in jobbook.workers()}
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
