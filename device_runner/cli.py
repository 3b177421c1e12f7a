"""``edgerec-device``: the commands that run on the device."""

from collections.abc import Sequence
from pathlib import Path

import click

from device_runner import __version__
from device_runner.backends import BACKENDS
from device_runner.bench import bench as measure
from device_runner.bundle import Bundle
from device_runner.command import CONTEXT, Group, json_option, print_json
from device_runner.contract import Ranking, Retrieval
from device_runner.errors import HistoryError
from device_runner.history import read_history
from device_runner.recommender import Recommender
from device_runner.user_features import user_rows

MODEL = click.argument("model", type=click.Path(path_type=Path))
BACKEND = click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default="auto",
    show_default=True,
    help="TFLite runtime; auto takes the first installed one that the file was verified on.",
)
THREADS = click.option(
    "--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Interpreter threads."
)

# Figures of a contract's agreement with the Keras model, and how to say them.
AGREEMENT = {"overlap@10": "top-10 overlap with Keras", "kendall_tau": "Kendall's tau with Keras"}


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="edgerec-device")
def main() -> None:
    """Score a local user history with an edgerec bundle."""


@main.command()
@MODEL
@click.option(
    "--history",
    "history_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The user's events, oldest first: CSV with a column item_id (or as in the bundle's data set), or JSON.",
)
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many items to recommend.")
@click.option(
    "--user",
    multiple=True,
    metavar="NAME=VALUE",
    help="What is known of the user, for a model with user features (inspect lists them); may be repeated.",
)
@click.option("--exclude", multiple=True, metavar="ITEM", help="An item id never to return; may be repeated.")
@click.option(
    "--keep-seen/--exclude-seen",
    default=None,
    help="Whether items of the history may be recommended again. Default: as the model was measured.",
)
@click.option("--explain", is_flag=True, help="Name the event of the history that contributed most to each item.")
@BACKEND
@THREADS
@json_option
def recommend(
    model: Path,
    history_path: Path,
    k: int,
    user: tuple[str, ...],
    exclude: tuple[str, ...],
    keep_seen: bool | None,
    explain: bool,
    backend: str,
    threads: int,
    as_json: bool,
) -> None:
    """Recommend items for the history in a file.

    Example: edgerec-device recommend model.tflite --history history.csv -k 5
    """
    recommender = Recommender.load(model, backend, threads)
    history = read_history(history_path, recommender.bundle.item_column)
    known = _known(user, recommender.bundle)
    exclude_history = None if keep_seen is None else not keep_seen
    found = recommender.recommend(history, k, exclude, exclude_history, known, explain)
    if as_json:
        print_json(
            {
                "model": recommender.bundle.name,
                "backend": recommender.backend,
                "source": found.source,
                "events": len(history),
                "unknown": found.unknown,
                "recommendations": [vars(r) for r in found],
            }
        )
        return
    if found.unknown:
        click.echo(f"{found.unknown} of {len(history)} events are not in the catalogue and were skipped.", err=True)
    if found.source == "popularity":
        click.echo("No known event in the history: these are the most popular items.", err=True)
    for place, entry in enumerate(found, 1):
        line = f"{place:>3}  {entry.score:>8.3f}  {entry.item:<12}  {entry.title}".rstrip()
        if entry.because is not None:
            line += f"  because of {_called(entry.because, recommender.bundle)}"
        click.echo(line)


def _called(item: str, bundle: Bundle) -> str:
    """The title of an item of the catalogue, or its id where it has none."""
    return (bundle.titles[bundle.items.index(item)] if bundle.titles else "") or item


def _known(options: Sequence[str], bundle: Bundle) -> dict[str, str]:
    """The options ``--user`` as names and values; a value that the model does not know gets a warning."""
    known = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise click.BadParameter(f"{option!r} is not NAME=VALUE", param_hint="--user")
        known[name] = value
    try:
        user_rows(bundle.user_features, known)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--user") from None
    for feature in bundle.user_features:
        if feature.name in known and feature.row_of(known[feature.name]) is None:
            shown = f"{feature.name}={known[feature.name]}"
            click.echo(f"{shown} is not known to the model and was skipped; it knows {feature.describe()}.", err=True)
    return known


@main.command()
@MODEL
@click.option(
    "--history",
    "history_paths",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A history to measure with; may be repeated. Default: the made-up golden histories inside the bundle.",
)
@click.option("--runs", type=click.IntRange(1), default=500, show_default=True, help="Timed calls.")
@BACKEND
@THREADS
@json_option
def bench(model: Path, history_paths: tuple[Path, ...], runs: int, backend: str, threads: int, as_json: bool) -> None:
    """Measure latency, cold start and memory on this device."""
    bundle = Bundle.read(model)
    if history_paths:
        histories = [read_history(path, bundle.item_column) for path in history_paths]
    else:
        histories = _golden_histories(bundle)
    histories = [history for history in histories if history]
    if not histories:
        raise HistoryError("no event to measure with; give --history FILE")
    result = measure(model, histories, backend, threads, runs)
    if as_json:
        print_json(result)
        return
    click.echo(f"{result['file']} ({result['scheme']}) on {result['backend']}, {threads} thread(s), {runs} runs")
    click.echo(f"device      {result['device']['cpu']} ({result['device']['machine']})")
    for name in ("recommend", "invoke", "step"):
        times = result[f"{name}_ms"]
        if times is None:
            continue
        click.echo(f"{name:<10}  p50 {times['p50']:.3f} ms   p90 {times['p90']:.3f} ms   p99 {times['p99']:.3f} ms")
    cold = result["cold_start_ms"]
    click.echo(
        f"cold start  {cold['process']:.0f} ms from process start to first answer, of which "
        f"import {cold['import']:.0f} ms, load {cold['load']:.0f} ms, first call {cold['first']:.1f} ms"
    )
    click.echo(f"memory      {result['peak_rss_mb']:.0f} MB peak")
    state = result["device"]["after"]
    shown = {
        "governor": "governor {}",
        "clock_mhz": "{:.0f} MHz",
        "temperature_c": "{:.0f} °C",
        "load_1min": "load {:.2f}",
    }
    click.echo("state       " + ", ".join(text.format(state[k]) for k, text in shown.items() if state[k] is not None))


def _golden_histories(bundle: Bundle) -> list[list[str]]:
    """Raw ids of the golden vectors' histories, without user features."""
    items = bundle.contract_of(Retrieval).items
    return [[bundle.items[row] for row in case["history"] if row <= items] for case in bundle.golden()]


@main.command()
@MODEL
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show what a bundle holds: contract, scheme, verified runtimes, measured quality."""
    bundle = Bundle.read(model)
    if as_json:
        print_json(bundle.manifest)
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
        ("scheme", bundle.scheme),
        ("size", f"{bundle.path.stat().st_size:,} bytes, of which model {manifest['flatbuffer_bytes']:,}"),
        *(_retrieval_facts(bundle, contract) if isinstance(contract, Retrieval) else _ranking_facts(contract)),
    ]
    facts += [("user", f"{feature.name}: {feature.describe()}") for feature in bundle.user_features]
    for name, result in bundle.runtimes.items():
        agreement = [f"{said} {result[figure]}" for figure, said in AGREEMENT.items() if figure in result]
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


def _ranking_facts(contract: Ranking) -> list[tuple[str, str]]:
    inputs = ", ".join(f"{name} ({dtype})" for name, dtype in contract.inputs.items())
    return [("scores", f"{contract.candidates:,} candidates"), ("inputs", inputs)]
