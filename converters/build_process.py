"""Run as a process by ``build``: SavedModel -> one flatbuffer per scheme.

``python -m converters.build_process SAVED_MODEL FOLDER MODULE:SCHEME ...`` writes ``FOLDER/SCHEME.tflite`` for each
scheme that can be converted, and ``FOLDER/SCHEME.error``, one line, for each that cannot.
"""

import importlib
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main() -> None:
    saved_model, folder, *wanted = sys.argv[1:]
    from converters.schemes import SCHEMES

    for entry in wanted:
        module, _, name = entry.partition(":")
        importlib.import_module(module)  # a scheme from elsewhere registers itself
        try:
            content = SCHEMES[name].build(Path(saved_model))
        except Exception as error:  # whatever the converter raises is what the user has to be told
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            Path(folder, f"{name}.error").write_text(lines[-1] if lines else type(error).__name__)
        else:
            part = Path(folder, f"{name}.part")
            part.write_bytes(content)
            part.rename(part.with_suffix(".tflite"))


if __name__ == "__main__":
    main()
