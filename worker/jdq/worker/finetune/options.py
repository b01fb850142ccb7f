"""The options of a fine-tune, without any machine-learning package: the client checks its arguments here."""

import msgspec

from jdq.worker.finetune.errors import BadOption


class FineTuneOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fine-tune as the user requested it.

    encoder: a folder, or a name on the hub. max_length: in tokens; None is the model's own limit.
    freeze: "none", "encoder" (only what follows the encoder is trained), or a number: the token embeddings and that
    many of the encoder's first layers are frozen. lora: the rank of low-rank updates to the attention's weights,
    which are trained instead of the weights. early_stopping: epochs without a better validation score.
    label_separator: between the labels of a row, for multi-label targets.
    checkpoint_every_s: seconds between checkpoints, in addition to those after each epoch.
    """

    encoder: str
    epochs: int = 3
    learning_rate: float = 5e-5
    batch_size: int = 16
    max_length: int | None = None
    freeze: str = "none"
    lora: int | None = None
    early_stopping: int | None = None
    seed: int = 0
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    label_separator: str | None = msgspec.field(default=None, name="separator")
    checkpoint_every_s: float = 300.0


def check_options(options: FineTuneOptions) -> None:
    """Raises BadOption with the value and what is allowed."""
    for name in ("epochs", "batch_size", "lora", "early_stopping", "max_length"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise BadOption(f"{name.replace('_', '-')} is {value}; it must be 1 or more")
    if not 0 < options.learning_rate < 1:
        raise BadOption(f"the learning rate is {options.learning_rate}; it must be between 0 and 1, such as 5e-5")
    if not 0 <= options.warmup < 1:
        raise BadOption(f"the warm-up is {options.warmup}; it must be a share of the steps, from 0 to below 1")
    if options.freeze not in ("none", "encoder") and not options.freeze.isdecimal():
        raise BadOption(f"--freeze {options.freeze}: it must be none, encoder, or a number of layers")
    if options.lora is not None and options.freeze != "none":
        raise BadOption("--lora freezes all but its own weights: leave out --freeze")
