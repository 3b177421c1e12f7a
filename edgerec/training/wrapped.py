"""Fine-tuning of a ranking model in the wrappers of tensorflow-model-optimization: few different weights, and weights
and activations of 8 bits.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

from edgerec.rankers import RankingModel
from edgerec.training.hooks import Hook

# Kernel [in, out] and bias [out] of a dense layer.
Dense = list[np.ndarray]
# A kernel with at least this share of zeros was pruned, and keeps them.
PRUNED = 0.05
# A kernel with at most so many different values was clustered, and keeps them.
CLUSTERED = 256


class Wrapped(Hook):
    """Trains copies of the dense layers in wrappers, and gives the model what these stand for after each epoch. The
    other layers are the model's own; so is the last dense layer, of one unit, whose result no scheme rounds.

    Args:
        wrap: from a model of one dense layer to the model that is trained in its place.
        stripped: from that to the weights that it stands for.

    Attributes:
        network: what is trained.
    """

    def __init__(
        self,
        model: RankingModel,
        wrap: Callable[[keras.Model], keras.Model],
        stripped: Callable[[keras.Model], Dense],
    ) -> None:
        self._model, self._stripped = model, stripped
        self._copies: dict[str, keras.Model] = {}

        def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
            if not isinstance(layer, keras.layers.Dense) or layer.units == 1:
                return layer
            copy = keras.layers.Dense.from_config(layer.get_config())
            alone = keras.Sequential([keras.Input((layer.kernel.shape[0],)), copy], name=layer.name)
            alone.set_weights(layer.get_weights())
            self._copies[layer.name] = wrap(alone)
            return _Inside(self._copies[layer.name], layer.name)

        self.network = keras.models.clone_model(model.network, clone_function=clone)

    def after_epoch(self) -> None:
        for name, copy in self._copies.items():
            self._model.network.get_layer(name).set_weights(self._stripped(copy))


class _Inside(keras.layers.Layer):  # type: ignore[misc]
    """A model as a layer: ``clone_model`` does not end with a model that was called before."""

    def __init__(self, inner: keras.Model, name: str) -> None:
        super().__init__(name=name)
        self.inner = inner

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return self.inner(inputs, training=training)


def clustering(model: RankingModel, clusters: int) -> Wrapped:
    """Kernels of at most so many different values (weight sharing, Han et al., ICLR 2016). Zeros of pruning stay."""

    def wrap(dense: keras.Model) -> keras.Model:
        pruned = _zeros(dense) >= PRUNED
        init = tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS
        return cluster_weights(
            dense, number_of_clusters=clusters, cluster_centroids_init=init, preserve_sparsity=pruned
        )

    def stripped(wrapped: keras.Model) -> Dense:
        found: Dense = tfmot.clustering.keras.strip_clustering(wrapped).get_weights()
        return found

    return Wrapped(model, wrap, stripped)


def quantization_awareness(model: RankingModel) -> Wrapped:
    """Kernels and activations rounded to 8 bits in each step, the gradient passed on as if they were not (Jacob et al.,
    CVPR 2018). Zeros of pruned kernels stay, and so do the few values of clustered ones.
    """

    def wrap(dense: keras.Model) -> keras.Model:
        annotated = tfmot.quantization.keras.quantize_annotate_model(dense)
        return tfmot.quantization.keras.quantize_apply(annotated, _what_is_kept(dense))

    def stripped(wrapped: keras.Model) -> Dense:
        layer = wrapped.layers[-1]
        (kernel, quantizer, ranges), *_ = layer._weight_vars
        return [quantizer(kernel, False, weights=ranges).numpy(), layer.layer.bias.numpy()]

    return Wrapped(model, wrap, stripped)


def _what_is_kept(dense: keras.Model) -> object:
    """The scheme of tensorflow-model-optimization that keeps the zeros and clusters of a kernel."""
    combine, pruned = tfmot.experimental.combine, _zeros(dense) >= PRUNED
    if len(np.unique(dense.get_weights()[0])) <= CLUSTERED:
        return combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=pruned)
    return combine.Default8BitPrunePreserveQuantizeScheme() if pruned else _plain()


def _plain() -> object:
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_scheme

    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


def _zeros(dense: keras.Model) -> float:
    """Share of zeros in the kernel."""
    return float((dense.get_weights()[0] == 0).mean())
