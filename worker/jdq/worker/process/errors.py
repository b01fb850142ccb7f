"""Which errors are the user's: another try would meet them again, so they end the job at once."""

from __future__ import annotations

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

# The same roots hold a few that are the machine's: a full disk may be empty again in a minute.
MACHINE_FAULTS: tuple[type[Exception], ...] = (CannotWrite,)
