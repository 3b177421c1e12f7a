"""The parts of a score beside the network, each optional."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from edgerec.errors import DataError
from edgerec.recommenders.prior import Prior
from edgerec.recommenders.transitions import Transitions

FILE = "parts.npz"


@dataclass(frozen=True)
class Parts:
    """What is added to the network's scores.

    Attributes:
        network: whether the network's scores are part of the sum at all.
    """

    transitions: Transitions | None = None
    prior: Prior | None = None
    network: bool = True

    @property
    def recent(self) -> int:
        """How many of the newest events the parts read."""
        return self.transitions.recent if self.transitions else 0

    @property
    def neighbours(self) -> int:
        """K of the transitions; 0 without them."""
        return self.transitions.neighbours.shape[1] if self.transitions else 0

    def facts(self) -> dict[str, Any]:
        """The weights of the parts that there are, ready for JSON."""
        facts: dict[str, Any] = {}
        if table := self.transitions:
            facts["transitions"] = {
                "neighbours": self.neighbours,
                "recent": len(table.weights),
                "strength": table.strength,
                "decay": float(table.weights[1] / table.weights[0]) if len(table.weights) > 1 else None,
                "floor": float(1 / table.weights[0]),
                "repeats": len(table.repeats) > 0,
            }
        if prior := self.prior:
            facts["prior"] = {
                "strength": prior.strength, "half_life_days": prior.half_life, "from_file": prior.from_file,
            }  # fmt: skip
        return facts

    def extended(self, rows: int) -> "Parts":
        """The same for a catalogue of ``rows`` - 1 items, the new ones behind the others."""
        return replace(
            self,
            transitions=self.transitions and self.transitions.extended(rows),
            prior=self.prior and self.prior.extended(rows),
        )

    def added(self, scores: tf.Tensor | None, history: tf.Tensor, anchor: tf.Tensor) -> tf.Tensor:
        """``scores`` float32 [B, N + 1] of the network (``None`` without it) and those of the parts.

        Args:
            history: item rows int32 [B, T], oldest first, left-padded with 0.
            anchor: see :meth:`Prior.scores`.
        """
        terms = [] if scores is None else [scores]
        if self.transitions:
            terms.append(self.transitions.scores(history))
        if self.prior:
            terms.append(self.prior.scores(anchor) + (0.0 if terms else tf.zeros([tf.shape(history)[0], 1])))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def save(self, folder: Path) -> None:
        """Write ``parts.npz``, unless the network is all there is."""
        arrays: dict[str, np.ndarray] = {}
        if self.transitions:
            arrays |= {f"transitions.{name}": np.asarray(value) for name, value in vars(self.transitions).items()}
        if self.prior:
            half_life = np.nan if self.prior.half_life is None else self.prior.half_life
            values = {**vars(self.prior), "half_life": half_life}
            arrays |= {f"prior.{name}": np.asarray(value) for name, value in values.items()}
        if arrays:
            np.savez_compressed(folder / FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> "Parts":
        """Read what ``save`` wrote; the network alone if it wrote nothing.

        Raises:
            DataError: the file is damaged.
        """
        if not (folder / FILE).is_file():
            return cls()
        try:
            with np.load(folder / FILE) as saved:
                arrays = dict(saved)
            return cls(_transitions(_of("transitions", arrays)), _prior(_of("prior", arrays)))
        except Exception as error:  # numpy raises many kinds for a file that is not what it wrote
            raise DataError(f"{folder / FILE}: damaged ({error}); train again with: edgerec train") from None


def _of(part: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}


def _transitions(arrays: dict[str, np.ndarray]) -> Transitions | None:
    return Transitions(**{**arrays, "strength": float(arrays["strength"])}) if arrays else None  # type: ignore[arg-type]


def _prior(arrays: dict[str, np.ndarray]) -> Prior | None:
    if not arrays:
        return None
    half_life = float(arrays["half_life"])
    return Prior(
        arrays["codes"],
        float(arrays["step"]),
        float(arrays["strength"]),
        None if np.isnan(half_life) else half_life,
        bool(arrays["from_file"]),
    )
