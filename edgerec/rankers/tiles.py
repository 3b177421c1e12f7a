"""Dense layers that were pruned in tiles: what is left is computed, and the rest is not in the file."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

# Sides of the squares that are looked for. Smaller ones cost more calls of the kernel than they save.
SIDES = (128, 64, 32)
# A kernel is computed in tiles if no more than this share of its weights is left then.
MOST_LEFT = 0.6


class TiledDense(keras.layers.Layer):  # type: ignore[misc]
    """A dense layer with ReLU or without an activation function, as one small dense layer for each column of tiles,
    which reads the inputs whose tiles are not zero: [C, in] -> [C, out].

    Args:
        side: of the tiles; those at the lower and the right edge are what is left.
    """

    def __init__(self, dense: keras.layers.Dense, side: int) -> None:
        super().__init__(name=dense.name)
        kernel, bias = dense.get_weights()
        live = live_tiles(kernel, side)
        self.relu = dense.activation is keras.activations.relu
        self.pieces: list[tuple[list[tuple[int, int]], tf.Variable, tf.Variable]] = []
        for number, column in enumerate(live.T):
            units = slice(number * side, (number + 1) * side)
            runs = [(start * side, min(stop * side, len(kernel))) for start, stop in _runs(column)]
            runs = runs or [(0, 1)]  # units that read nothing still have their bias
            rows = np.concatenate([kernel[start:stop, units] for start, stop in runs])
            self.pieces.append((runs, tf.Variable(rows, name=f"kernel_{number}"), tf.Variable(bias[units])))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        found = []
        for runs, kernel, bias in self.pieces:
            parts = [inputs[:, start:stop] for start, stop in runs]
            piece = tf.matmul(parts[0] if len(parts) == 1 else tf.concat(parts, 1), kernel) + bias
            found.append(tf.nn.relu(piece) if self.relu else piece)
        return tf.concat(found, 1)


def live_tiles(kernel: np.ndarray, side: int) -> np.ndarray:
    """Which tiles of a kernel [in, out] have a weight that is not zero, bool [⌈in / side⌉, ⌈out / side⌉]."""
    rows, columns = (-(-size // side) for size in kernel.shape)
    padded = np.zeros((rows * side, columns * side), bool)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel != 0
    return padded.reshape(rows, side, columns, side).any((1, 3))


def side_of_tiles(kernel: np.ndarray) -> int:
    """The side of the tiles in which a kernel [in, out] has the least to compute, the largest of equal ones; 0 if it is
    not worth it.
    """
    left = {side: _share_left(kernel, side) for side in SIDES if min(kernel.shape) >= side}
    best = min(left, key=lambda side: left[side], default=0)
    return best if best and left[best] <= MOST_LEFT else 0


def _share_left(kernel: np.ndarray, side: int) -> float:
    """The share of a kernel's weights that are in tiles that are left."""
    whole = live_tiles(kernel, side).repeat(side, 0).repeat(side, 1)
    return float(whole[: kernel.shape[0], : kernel.shape[1]].mean())


def without_zero_tiles(network: keras.Model) -> keras.Model:
    """The network with ``TiledDense`` in place of the layers for which that is worth it; the others are shared. The
    network itself if there is none.
    """
    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    sides = {layer.name: side for layer in dense if (side := side_of_tiles(layer.kernel.numpy()))}

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        return TiledDense(layer, sides[layer.name]) if layer.name in sides else layer

    return network if not sides else keras.models.clone_model(network, clone_function=clone)


def _runs(live: np.ndarray) -> list[tuple[int, int]]:
    """Beginnings and ends of the runs of true values."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], live, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(changes[::2], changes[1::2], strict=True)]
