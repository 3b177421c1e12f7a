"""Labelled rows of a Dataset as the inputs of a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import Histories, LabelledRows
from edgerec.rankers.inputs import ITEM, SECONDS_A_DAY, UNITS, Inputs, moments, table_inputs

# Rows that are scored at a time.
BATCH = 1024


@dataclass(frozen=True)
class RowInputs:
    """Makes the inputs of rows: those of users, context and history [groups, …], those of items [n, …].

    Attributes:
        histories: what is known of a user at each row.
    """

    dataset: Dataset
    inputs: Inputs
    histories: Histories

    def of(self, rows: LabelledRows) -> dict[str, np.ndarray]:
        """Each input of the graph by name, in the order of the graph."""
        firsts = slice(None, None, rows.group)
        users, places = rows.users[firsts], rows.events[firsts]
        found: dict[str, np.ndarray] = {ITEM: rows.items}
        for feature in self.inputs.features:
            if feature.of == "user":
                found[feature.input] = self._users[feature.input][users]
            elif feature.of == "item":
                found[feature.input] = self.items[feature.input][rows.items]
            elif feature.of == "retrieval":
                missing = np.full(len(rows), np.nan, np.float32)
                found[feature.input] = missing if rows.retrieval is None else rows.retrieval
            elif feature.name == "recency":
                found[feature.input] = self.histories.days_since(rows, a_day(self.dataset))
            else:
                unit = str(self.dataset.info["time_unit"])
                found[feature.input] = moments(self.dataset.times[places], unit, feature.name)
        if self.inputs.history:
            values = self.dataset.values if self.inputs.reads_values else None
            arrays = self.histories.padded(rows, values)
            found |= {feature.input: array for feature, array in zip(self.inputs.history, arrays, strict=False)}
        return {name: found[name] for name in self.inputs.names}

    def batches(self, rows: LabelledRows) -> Iterator[dict[str, np.ndarray]]:
        """The inputs of all rows, about ``BATCH`` rows at a time."""
        step = max(1, BATCH // rows.group)
        for start in range(0, rows.groups, step):
            yield self.of(rows.subset(np.arange(start, min(start + step, rows.groups))))

    @cached_property
    def items(self) -> dict[str, np.ndarray]:
        """The inputs of each item row, of which row 0 is missing everywhere."""
        table = table_inputs(self.inputs.of("item"), self.dataset.item_table, self.dataset.features("items"))
        return {name: _with_row_0(values) for name, values in table.items()}

    @cached_property
    def _users(self) -> dict[str, np.ndarray]:
        return table_inputs(self.inputs.of("user"), self.dataset.user_table, self.dataset.features("users"))


def _with_row_0(values: np.ndarray) -> np.ndarray:
    missing = np.nan if values.dtype == np.float32 else 0
    return np.concatenate([np.full((1, *values.shape[1:]), missing, values.dtype), values])


def a_day(dataset: Dataset) -> float:
    """A day in the unit of the Dataset's times."""
    return float(SECONDS_A_DAY * UNITS[str(dataset.info["time_unit"])])
