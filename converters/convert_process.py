"""Run as a process by ``convert``: SavedModel -> TFLite. A converter that crashes takes no one along.

``python -m converters.convert_process SAVED_MODEL SCHEME OUTPUT``
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main() -> None:
    saved_model, scheme, output = sys.argv[1:]
    import tensorflow as tf

    from converters.schemes import SCHEMES

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)  # with all its signatures
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # no Flex op can slip in
    SCHEMES[scheme].configure(converter)
    content = converter.convert()
    Path(output).write_bytes(content)


if __name__ == "__main__":
    main()
