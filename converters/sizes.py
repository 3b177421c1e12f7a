"""Where a bundle's bytes are."""

import zlib
from pathlib import Path

from ai_edge_litert.tools import flatbuffer_utils

from device_runner.bundle import Bundle
from device_runner.user_features import rows_of


def bundle_sizes(path: Path, dim: int) -> dict[str, int]:
    """Bytes of the file, split, and compressed as a download would be (zlib level 9).

    ``item_table`` sums the buffers of every constant with the table's shape, so a table stored twice shows;
    ``vocabulary`` is all that is not the model: ids, titles, manifest, golden vectors, card.
    """
    bundle = Bundle.read(path)
    content = path.read_bytes()
    model_bytes = bundle.manifest["flatbuffer_bytes"]
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content[:model_bytes]))
    shape = [bundle.contract.items + 1 + rows_of(bundle.user_features), dim]
    buffers = {
        tensor.buffer
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.shape is not None and list(tensor.shape) == shape
    }
    table = sum(len(data) for b in buffers if (data := model.buffers[b].data) is not None)
    return {
        "total": len(content),
        "item_table": table,
        "network": model_bytes - table,
        "vocabulary": len(content) - model_bytes,
        "compressed": len(zlib.compress(content, 9)),
    }
