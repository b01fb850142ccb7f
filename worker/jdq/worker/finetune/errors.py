"""What can be wrong with a fine-tune. All of these are the user's to mend: never retried."""


class FineTuneError(Exception):
    """Root of what this package refuses; the text names the fact, the values and the next command."""


class BadOption(FineTuneError):
    """An option's value that makes no sense, or not for this model."""


class TooLittleMemory(FineTuneError):
    """A batch does not fit into the device's memory."""


class DamagedModel(FineTuneError):
    """A folder that is not, or no longer, a model that jdq fine-tuned."""


class StopAfterCheckpoint(Exception):
    """Raised by a progress callback: save a checkpoint first, then stop. Whoever called `finetune` sees it again."""
