"""The log of a training for TensorBoard."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf

# Names in the log of the figures in a curve's entry; the step is the epoch. Each entry has one figure of validation.
SCALARS = {
    "loss": "loss",
    "ndcg@10": "validation/ndcg@10",
    "rmse": "validation/rmse",
    "auc": "validation/auc",
    "learning_rate": "learning_rate",
}
# What makes a tensor a scalar to TensorBoard; ``tf.summary.scalar`` writes the same, but needs TensorBoard installed.
METADATA = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR")


class ScalarLog:
    """Figures by epoch, in an event file in ``folder``.

    A resumed fit writes the log anew, beginning with the epochs of ``curve``: none is missing and none is there twice.
    """

    def __init__(self, folder: Path, curve: Iterable[Mapping[str, float]]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(folder))
        for entry in curve:
            self.add(entry)

    def add(self, entry: Mapping[str, float]) -> None:
        """Log an entry of the curve."""
        with self._writer.as_default():
            for key, name in SCALARS.items():
                if key not in entry:
                    continue
                value = tf.constant(entry[key], tf.float32)
                tf.summary.write(name, value, step=int(entry["epoch"]), metadata=METADATA)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
