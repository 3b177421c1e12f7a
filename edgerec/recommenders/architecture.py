"""The shape of an encoder: what is saved with a model, and what pruning changes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgerec.recipe import Model


@dataclass(frozen=True)
class Block:
    """Widths of one block.

    Attributes:
        feed_forward: units of the feed-forward layer.
        mixer: units of the layer that lets an event see the earlier ones. gru: H, the state; lru: complex channels;
            sasrec: d, of queries, keys and values of all heads; mean and cnn: d.
        heads: of the attention.
        dilation: of a convolution (cnn) whose block is not where it was when it was trained, because blocks before it
            were cut out; ``None``: that of its place.
    """

    feed_forward: int
    mixer: int
    heads: int = 1
    dilation: int | None = None


@dataclass(frozen=True)
class Architecture:
    """An encoder with the widths of each block. Independent of the recipe once the model is made: a model that was cut
    has widths that no recipe can say.

    Attributes:
        encoder: its name in ``edgerec.recommenders.ENCODERS``.
        dim: d, the width of item vectors and hidden states.
        max_history: L, the number of events that the model reads.
        dropout: share of values that are dropped while training.
    """

    encoder: str
    dim: int
    max_history: int
    blocks: tuple[Block, ...]
    dropout: float = 0.0

    @classmethod
    def of_recipe(cls, model: Model) -> "Architecture":
        """What ``[model]`` asks for: all blocks alike."""
        heads = model.heads if model.encoder == "sasrec" else 1
        block = Block(model.feed_forward, model.mixer, heads)
        return cls(model.encoder, model.dim, model.max_history, (block,) * model.blocks, model.dropout)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Architecture":
        """What ``to_json`` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(**{**saved, "blocks": tuple(Block(**block) for block in saved["blocks"])})
