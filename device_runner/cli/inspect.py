"""``edgerec-device inspect``: what a bundle holds."""

from pathlib import Path

import click

from device_runner.bundle import FEATURES, Bundle
from device_runner.cli.options import MODEL
from device_runner.command import json_option, print_json
from device_runner.contract import Ranking, Retrieval
from device_runner.errors import BundleError
from device_runner.features import HISTORY, HISTORY_VALUES, ITEM, OF, RETRIEVAL_SCORE, features_from_json

# What a ranking model predicts, by the kind of its labels.
LABELS = {
    "rating": "a rating",
    "binary": "the chance of a positive response",
    "implicit": "the chance of an interaction",
}
# Figures of a contract's agreement with the Keras model, and how to say them.
AGREEMENT = {"overlap@10": "top-10 overlap with Keras", "kendall_tau": "Kendall's tau with Keras"}


@click.command(short_help="Show what a model file holds.")
@MODEL
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show what a bundle holds: contract, scheme, verified runtimes, measured quality."""
    bundle = Bundle.read(model)
    if as_json:
        print_json({**bundle.manifest, "features": list(bundle.features)} if bundle.features else bundle.manifest)
        return
    facts = _facts(bundle)
    width = max(len(label) for label, _ in facts)
    for label, value in facts:
        click.echo(f"{label:<{width}}  {value}")


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    """What ``inspect`` shows, as labels and texts."""
    manifest, contract = bundle.manifest, bundle.contract
    facts = [
        ("name", bundle.name),
        ("format", str(manifest["format"])),
        *([("release", str(bundle.release))] if bundle.release else []),
        ("scheme", bundle.scheme),
        ("size", f"{bundle.path.stat().st_size:,} bytes, of which model {manifest['flatbuffer_bytes']:,}"),
        *(_retrieval_facts(bundle, contract) if isinstance(contract, Retrieval) else _ranking_facts(bundle, contract)),
    ]
    facts += [
        ("attribute", f"{name}: {len(attribute.values):,} values, for --at-most {name}=…")
        for name, attribute in bundle.attributes.items()
    ]
    facts += [("user", f"{feature.name}: {feature.describe()}") for feature in bundle.user_features]
    for name, result in bundle.runtimes.items():
        agreement = [f"{said} {result[figure]}" for figure, said in AGREEMENT.items() if figure in result]
        if (limits := result.get("not_on")) and isinstance(limits, list):
            agreement.append(f"may crash on processors with {', '.join(map(str, limits))}")
        facts.append(("verified on", f"{name} {result.get('version')}: {', '.join(agreement) or 'no figure'}"))
    dataset = manifest.get("dataset", {})
    facts.append(("data set", f"{dataset.get('name')} (split {dataset.get('split_fingerprint')})"))
    for name, value in manifest.get("quality", {}).items():
        facts.append((name, f"{value:.4f}" if isinstance(value, float) else str(value)))
    return facts


def _retrieval_facts(bundle: Bundle, contract: Retrieval) -> list[tuple[str, str]]:
    facts = [
        ("catalogue", f"{contract.items:,} items{', with titles' if bundle.titles else ''}"),
        ("most popular", f"{bundle.items[1]} {bundle.titles[1] if bundle.titles else ''}".rstrip()),
        ("reads", f"the last {contract.max_history} events"),
        (
            "returns",
            f"{contract.top_k} items, without up to {contract.max_exclude} excluded ones; "
            "more of either takes a little longer",
        ),
    ]
    if contract.state:
        rows = f" and the newest {contract.recent} rows" if contract.recent else ""
        facts.append(
            ("state", f"{contract.state} floats{rows}; an app that stores it pays one step for each new event")
        )
    if contract.neighbours:
        facts.append(("transitions", f"to {contract.neighbours} items from each of the newest events"))
    return facts


def _ranking_facts(bundle: Bundle, contract: Ranking) -> list[tuple[str, str]]:
    facts = [("scores", f"{contract.candidates:,} candidates at once")]
    if said := LABELS.get(str(bundle.manifest.get("label"))):
        facts.append(("score", said))
    if len(bundle.items) > 1:
        facts.append(("catalogue", f"{len(bundle.items) - 1:,} items{', with titles' if bundle.titles else ''}"))
    if not bundle.features:
        inputs = ", ".join(f"{name} ({dtype})" for name, dtype in contract.inputs.items())
        return [*facts, ("inputs", inputs)]
    try:
        features = features_from_json(bundle.features, contract)
    except ValueError as error:
        raise BundleError(f"{bundle.path}: {FEATURES} {error}; convert the model again") from None
    for feature in features:
        if feature.of in OF and feature.input != ITEM:
            facts.append((feature.of, f"{feature.name}: {feature.describe()}"))
        elif feature.input == HISTORY:
            valued = any(other.input == HISTORY_VALUES for other in features)
            facts.append(("reads", f"the last {feature.size} events{', with their values' if valued else ''}"))
        elif feature.input == RETRIEVAL_SCORE:
            facts.append(("reads", "the score of the recommender that retrieved a candidate"))
    return facts
