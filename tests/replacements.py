"""Replaces models as the conformance suite asks (``call``: ``replace``), with ``device_runner.update``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from file_recipes import content_of

from device_runner import EdgeRecError, Ranker, Recommender
from device_runner.bundle import Bundle
from device_runner.contract import Ranking
from device_runner.signature import signature_path
from device_runner.update import rollback, update


def replaced(path: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the steps of a case leave, one entry for each.

    Args:
        path: the model in service at first, in a folder that may be written.
        arguments: see section 12 of ``converters/targets/README.md``.
    """
    key = _key_file(path.with_name("key.pem"), arguments.get("public_key"))
    if arguments.get("signature") is not None:
        signature_path(path).write_text(arguments["signature"], "utf-8", newline="")
    model = _loaded(path)
    outcome: dict[str, Any] = {"accepted": [], "releases": [], "answers": []}
    for step in arguments["steps"]:
        accepted = True
        try:
            if step["do"] == "replace":
                new = path.with_name("new.tflite")
                new.write_bytes(content_of(step["file"]))
                signature_path(new).unlink(missing_ok=True)
                if step.get("signature") is not None:
                    signature_path(new).write_text(step["signature"], "utf-8", newline="")
                update(path, new, key)
            elif step["do"] == "rollback":
                rollback(path, key)
        except EdgeRecError:
            accepted = False  # and the model that is loaded goes on answering
        if accepted:
            model = _loaded(path)
        outcome["accepted"].append(accepted)
        outcome["releases"].append(model.bundle.release)
        outcome["answers"].append(_answer(model, arguments["ask"]))
    return outcome


def _loaded(path: Path) -> Recommender | Ranker:
    return Ranker.load(path) if isinstance(Bundle.read(path).contract, Ranking) else Recommender.load(path)


def _answer(model: Recommender | Ranker, ask: Mapping[str, Any]) -> list[Any]:
    return [entry.item for entry in model.recommend(**ask)] if isinstance(model, Recommender) else model.score(**ask)


def _key_file(path: Path, raw: str | None) -> Path | None:
    if raw is None:
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(raw))
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path
