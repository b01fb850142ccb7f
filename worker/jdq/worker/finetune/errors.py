"""What can be wrong with a fine-tune. Only the user can fix these: they are never retried."""


class FineTuneError(Exception):
    """Root of this package's errors; the message states the fact, the values and the next command."""


class BadOption(FineTuneError):
    """A value of an option that is not valid, or not for this model."""


class TooLittleMemory(FineTuneError):
    """A batch does not fit into the device's memory."""


class DamagedModel(FineTuneError):
    """A folder that is not, or no longer, a model that jdq fine-tuned."""


class StopAfterCheckpoint(Exception):
    """Raised by a progress callback: save a checkpoint first, then stop. `finetune` raises it again."""
