"""Which criterion finds the units that a model can do without? Trained models cut to the same size by each.

``python tests/bench_pruning.py RECIPE OUT [--trained FOLDER ...]``: RECIPE is a TOML file, or a run's ``recipe.json``,
whose ``[prune]`` says what is cut (``method = "structured"``, ``shares``) and how it is fine-tuned. A FOLDER is that of
a run with a trained model of the recipe, one for each seed; without any, models of the seeds 1 to 3 are trained in OUT.
Results are kept in OUT, and a rerun continues.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import edgerec  # noqa: F401  (chooses Keras 2 before anything imports it)
from edgerec.artifact import fingerprint
from edgerec.evaluation.ranking import evaluate
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.criteria import CRITERIA
from edgerec.pruning.methods.structured import structured
from edgerec.pruning.sparsity import parameters
from edgerec.recipe import Recipe
from edgerec.recipe.load import load_recipe
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.parts import Parts
from edgerec.training.gap import generalization_gap
from edgerec.training.hooks import AverageWeights
from edgerec.training.loop import Fit
from edgerec.training.objective import NextItem
from edgerec.training.schedule import Schedule


def read(path: Path) -> Recipe:
    return Recipe.model_validate_json(path.read_text()) if path.suffix == ".json" else load_recipe(path)


def ndcg(recommender: SequenceRecommender, run: Run, part: Any) -> float:
    targets = run.dataset.targets(part)
    inputs = recommender.inputs_of(targets, run.dataset)
    return float(evaluate(recommender.score, targets, run.dataset, inputs=inputs).ndcg(10).mean())


def cut_and_tuned(run: Run, recipe: Recipe, criterion: str, folder: Path) -> dict[str, float]:
    """Figures of the run's trained network, cut by the criterion, before and after fine-tuning."""
    started, train = time.monotonic(), recipe.train
    recommender = SequenceRecommender.load(run.trained)
    recommender.parts = Parts()
    settings = recipe.prune.model_copy(update={"criterion": criterion})
    smaller = structured(recommender, settings, NextItem(recommender, run.dataset, train)).recommender
    before = {f"{part} cut": ndcg(smaller, run, part) for part in ("validation", "test")}
    objective = NextItem(smaller, run.dataset, train)
    hooks = [AverageWeights(objective.weights, train.average)] if train.average else []
    schedule = Schedule.of_fine_tuning(train, recipe.prune)
    Fit(criterion, objective, schedule, folder / "checkpoints", folder / "logs", Progress(), hooks).run()
    total = parameters(smaller)["total"]
    after = {part: ndcg(smaller, run, part) for part in ("validation", "test")}
    gap = generalization_gap(smaller, run.dataset)
    return {
        **before, **after, "parameters": total, "bytes": 4 * total, "seconds": time.monotonic() - started,
        "gap": gap["train_ndcg@10"] - gap["validation_ndcg@10"],
    }  # fmt: skip


def spread(values: np.ndarray) -> str:
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.4f} ± {error:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trained", type=Path, action="append", default=[])
    given = parser.parse_args()
    recipe = read(given.recipe)
    if recipe.prune.method != "structured":
        parser.error('the recipe needs [prune] method = "structured"')
    runs = [Run(read(folder / "recipe.json"), folder, Progress()) for folder in given.trained]
    for seed in () if runs else (1, 2, 3):
        seeded = recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})
        runs.append(Run(seeded, given.out / f"seed-{seed}", Progress()))
    results: dict[str, list[dict[str, float]]] = {}
    for criterion in sorted(CRITERIA, key=lambda name: name != "random"):
        for number, run in enumerate(runs):
            key = fingerprint([run.stages.trained.key, recipe.prune.model_dump(exclude={"criterion"}), criterion])
            folder = given.out / f"{criterion}-{number}-{key}"
            file = folder / "result.json"
            if not file.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(cut_and_tuned(run, recipe, criterion, folder)))
            results.setdefault(criterion, []).append(json.loads(file.read_text()))
    columns = ["validation cut", "test cut", "validation", "test", "gap"]
    print(f"| criterion | {' | '.join(columns)} | parameters | bytes | seconds | test − random |")
    print(f"|---|{'--:|' * (len(columns) + 4)}")
    sentences = []
    for criterion, seeds in results.items():
        by_column = {name: np.array([seed[name] for seed in seeds]) for name in seeds[0]}
        gain = by_column["test"] - np.array([seed["test"] for seed in results["random"]])
        sizes = [f"{by_column[name].mean():,.0f}" for name in ("parameters", "bytes", "seconds")]
        cells = [criterion, *(spread(by_column[name]) for name in columns), *sizes, spread(gain)]
        print(f"| {' | '.join(cells)} |", flush=True)
        error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else float("inf")
        if criterion != "random" and gain.mean() <= 2 * error:
            sentences.append(f"{criterion} does not beat random: the gain is within two standard errors of zero.")
    print("", *sentences, sep="\n")


if __name__ == "__main__":
    main()
