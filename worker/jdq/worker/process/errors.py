"""Errors in the user's input: another attempt would fail in the same way, so they fail the job immediately."""

from jdq.store.errors import CannotWrite, StoreError
from jdq.worker.encoder.errors import EncoderError
from jdq.worker.finetune.errors import FineTuneError
from jdq.worker.heads.errors import HeadError
from jdq.worker.queue.contract import ContractError

USER_ERRORS: tuple[type[Exception], ...] = (
    StoreError,
    EncoderError,
    HeadError,
    FineTuneError,
    ContractError,
)


class WorkerSick(Exception):
    """This worker's results are wrong, whatever the chunk: it is quarantined, and the attempt does not count."""


class NothingFinite(WorkerSick):
    """No text of the chunk has a finite feature. The attempt counts: the texts may be the cause."""


# A few errors under the same roots are the machine's: a full disk may have space again in a minute.
MACHINE_FAULTS: tuple[type[Exception], ...] = (CannotWrite,)
