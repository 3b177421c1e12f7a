"""Training by several workers at once: the cluster that TF_CONFIG describes, and how its workers agree."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from edgerec.errors import ClusterError

EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Place:
    """Which worker of the cluster this process is: number ``index`` of ``count``; number 0 is the chief."""

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0


def place_of(tf_config: str | None) -> Place:
    """Read the text of TF_CONFIG.

    Raises:
        ClusterError: it is absent or malformed, or describes a cluster that this strategy does not support.
    """
    if not tf_config:
        raise ClusterError(f'train.strategy = "multiworker" needs TF_CONFIG in the environment, such as {EXAMPLE}')
    try:
        document = json.loads(tf_config)
        cluster, task = document["cluster"], document["task"]
        addresses = {kind: list(cluster[kind]) for kind in cluster}
        kind, number = task["type"], int(task["index"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ClusterError(f"TF_CONFIG is not of the form {EXAMPLE}: {tf_config}") from None
    workers = [(kind, n) for kind in ("chief", "worker") for n in range(len(addresses.get(kind, ())))]
    places = [address for kind in addresses for address in addresses[kind]]
    if set(addresses) - {"chief", "worker"} or len(addresses.get("chief", ())) > 1:
        raise ClusterError(f"TF_CONFIG: a cluster has workers and at most one chief, not {', '.join(addresses)}")
    if not all(isinstance(address, str) and ":" in address for address in places):
        raise ClusterError(f"TF_CONFIG: write every address as HOST:PORT; the cluster has {places}")
    if len(set(places)) < len(places):
        raise ClusterError(f"TF_CONFIG: an address is listed twice: {', '.join(places)}")
    if (kind, number) not in workers:
        raise ClusterError(f"TF_CONFIG: the task {kind} {number} is not in the cluster {addresses}")
    return Place(workers.index((kind, number)), len(workers))


def check_may_run(command: str) -> None:
    """Allow workers other than the chief to train only: everything else would be done and written twice.

    Raises:
        ClusterError: this process is another worker than the chief, and the command is not ``train``.
    """
    tf_config = os.environ.get("TF_CONFIG")
    if command != "train" and tf_config and not (place := place_of(tf_config)).is_chief:
        raise ClusterError(
            f"TF_CONFIG makes this process worker {place.index}, which can only run edgerec train; run "
            f"edgerec {command} on the chief (worker 0)"
        )


class Workers:
    """The workers of a training, as seen by one of them; all run the same program.

    Attributes:
        index: of this worker; 0 is the chief, which alone writes.
        count: of the workers.
        strategy: variables made in its scope stay equal on all workers.
    """

    def __init__(self, place: Place, strategy: tf.distribute.Strategy) -> None:
        self.index, self.count, self.is_chief = place.index, place.count, place.is_chief
        self.strategy = strategy
        self._total = tf.function(self._all_reduced, input_signature=[tf.TensorSpec([None], tf.float64)])

    @classmethod
    def alone(cls) -> "Workers":
        """The only worker: no other process takes part."""
        return cls(Place(0, 1), tf.distribute.get_strategy())

    @classmethod
    def join(cls, say: Callable[[str], None]) -> "Workers":
        """Wait for all workers of TF_CONFIG. Must be called before anything else is done with TensorFlow.

        Raises:
            ClusterError: TF_CONFIG is wrong, or a worker cannot be reached.
        """
        place = place_of(os.environ.get("TF_CONFIG"))
        say(f"worker {place.index} of {place.count}: waiting for the others")
        # Python's own handler would only run once the other workers are there.
        interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            return cls(place, tf.distribute.MultiWorkerMirroredStrategy())
        except (tf.errors.OpError, RuntimeError) as error:
            raise ClusterError(f"worker {place.index} cannot join its cluster: {_reason(error)}") from None
        finally:
            signal.signal(signal.SIGINT, interrupt)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # TensorFlow catches it and does not end

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over all workers, float64 [n]."""
        return np.asarray(self._total(tf.constant(values, tf.float64))) if self.count > 1 else values

    def of_chief(self, values: np.ndarray) -> np.ndarray:
        """The chief's values, float64 [n]."""
        return self.total(values if self.is_chief else np.zeros_like(values))

    def wait(self) -> None:
        """Wait until every worker has come to this point."""
        self.total(np.zeros(1))

    def agree(self, fingerprint: str, what: str) -> None:
        """Check that all workers have the same ``fingerprint`` (hexadecimal); all of them learn of a difference.

        Raises:
            ClusterError: they differ; the message begins with ``what``.
        """
        own = np.array([int(fingerprint[start : start + 8], 16) for start in (0, 8)], np.float64)
        each = np.zeros((self.count, 2))
        each[self.index] = own
        each = self.total(each.ravel()).reshape(self.count, 2)
        others = [str(worker) for worker in range(self.count) if (each[worker] != each[0]).any()]
        if others:
            raise ClusterError(f"{what}: worker {', '.join(others)} and the chief (worker 0) differ")

    def share(self, lines: Any) -> Any:
        """The part for this worker of an array or list that all workers have: every ``count``-th entry."""
        return lines[self.index :: self.count]

    def _all_reduced(self, values: tf.Tensor) -> tf.Tensor:
        def reduced(own: tf.Tensor) -> tf.Tensor:
            # A copy, as it must be on the replica's device, and an argument is not.
            own = tf.identity(own)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, own)

        return self.strategy.experimental_local_results(self.strategy.run(reduced, (values,)))[0]


@contextmanager
def loss_of_workers() -> Iterator[None]:
    """Turn the errors that TensorFlow raises when another worker has ended into one clear error.

    Raises:
        ClusterError: an operation over all workers failed.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError, tf.errors.CancelledError,
            tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError) as error:  # fmt: skip
        raise ClusterError(
            f"another worker has ended ({_reason(error)}); start all of them again to go on after the last epoch"
        ) from None


def _reason(error: Exception) -> str:
    """The message of an error of TensorFlow, without the places in the program where it happened."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    text = re.sub(r"^Graph execution error:.*?\n\n(?=[^\n]*\S)(?! *Detected| *File)", "", text, flags=re.DOTALL)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
