"""Which errors are the user's: another try would meet them again, so they end the job at once."""

from __future__ import annotations

from jdq.store.errors import StoreError
from jdq.worker.contract import ContractError
from jdq.worker.encoder.errors import EncoderError
from jdq.worker.heads.errors import HeadError

USER_ERRORS: tuple[type[Exception], ...] = (StoreError, EncoderError, HeadError, ContractError)
