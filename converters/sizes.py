"""The size of a bundle, by part."""

import zlib
from collections.abc import Sequence
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from converters.servable import Table
from device_runner.bundle import Bundle


def bundle_sizes(path: Path, tables: Sequence[Table]) -> dict[str, int]:
    """Bytes of the file, split, and compressed as a download would be (zlib level 9).

    Each table, such as ``item_table``, sums the buffers of every constant with its shape, so that a table that is
    stored twice shows; ``network`` is the rest of the model, ``vocabulary`` all that is not the model: ids, titles,
    manifest, golden vectors, card.
    """
    content = path.read_bytes()
    model_bytes = Bundle.read(path).manifest["flatbuffer_bytes"]
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content[:model_bytes]))
    sizes = {}
    for table in tables:
        types = {getattr(schema.TensorType, name) for name in table.types}
        buffers = {
            tensor.buffer
            for graph in model.subgraphs
            for tensor in graph.tensors
            if tensor.shape is not None and list(tensor.shape) == list(table.shape) and tensor.type in types
        }
        sizes[table.name] = sum(len(data) for b in buffers if (data := model.buffers[b].data) is not None)
    return {
        "total": len(content),
        **sizes,
        "network": model_bytes - sum(sizes.values()),
        "vocabulary": len(content) - model_bytes,
        "compressed": len(zlib.compress(content, 9)),
    }
