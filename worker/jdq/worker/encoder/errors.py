"""What can be wrong with an encoder, a tokenizer or their files: errors in the user's input, never retried."""

from collections.abc import Sequence


class EncoderError(Exception):
    """The requested encoder cannot give correct features; another try cannot help."""


class EncoderNotFound(EncoderError):
    """No such folder, and the model hub has no such name or cannot be reached."""


class UnsafeWeights(EncoderError):
    """The only weights are a pickle, or the model needs its own code to be run."""


class DamagedEncoder(EncoderError):
    """A file of the encoder is missing, unreadable, or lacks tensors."""


class UnsupportedEncoder(EncoderError):
    """The model is not a text encoder whose position 0 sees the complete text."""


class TokenizerMismatch(EncoderError):
    """The tokenizer and the model do not belong together, or the tokenizer's files are missing."""


class LimitTooLong(EncoderError):
    """More tokens per text were requested than the encoder has positions."""


class NotFiniteFeatures(EncoderError):
    """Some features hold NaN or infinity. `positions` are their texts' positions in what was encoded."""

    def __init__(self, positions: Sequence[int], precision: str) -> None:
        self.positions = tuple(positions)
        some = ", ".join(str(position) for position in self.positions[:5])
        super().__init__(
            f"{len(self.positions)} features are not finite: those of the texts at positions {some}"
            f"{', ...' if len(self.positions) > 5 else ''} (computed in {precision})\n"
            "  the weights are damaged, or their values too large for this precision: try --precision float32"
        )


class OutOfMemory(RuntimeError):
    """Memory ran out for a single text: the machine's fault, not the user's, so this is not an EncoderError."""

    def __init__(self, position: int, n_tokens: int, device: str) -> None:
        super().__init__(f"out of memory on {device} for the single text at position {position} ({n_tokens} tokens)")
