"""Kept states: one step a new event, on the device's runtimes."""

from pathlib import Path

import numpy as np
import pytest
from conftest import small_recipe

from device_runner import BundleError, Recommender
from device_runner.backends import installed_backends
from device_runner.bench import bench
from edgerec.pipeline import Run
from edgerec.progress import Progress


@pytest.fixture(scope="module", params=[("gru", 1), ("gru", 2), ("lru", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def recurrent_run(request: pytest.FixtureRequest, purchases: Path, small_run: Run, tmp_path_factory) -> Run:
    encoder, blocks = request.param
    folder = tmp_path_factory.mktemp("recurrent")
    (folder / "dataset").symlink_to(small_run.folder / "dataset")
    sections = {"model": {"encoder": encoder, "blocks": blocks}, "train": {"epochs": 1}, "prune": {"enabled": False}}
    run = Run(small_recipe(purchases, **sections, convert={"schemes": ["float32", "int8"]}), folder, Progress())
    assert run.bundles
    return run


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["float32", "int8"])
def test_stepping_gives_what_the_whole_history_gives(recurrent_run: Run, scheme: str) -> None:
    recommender = Recommender.load(recurrent_run.bundles[scheme])
    assert set(recommender.bundle.runtimes) == set(installed_backends())
    ids = recommender.bundle.items
    length = recommender.bundle.contract.max_history
    histories = [h[-length:] for h in recurrent_run.dataset.targets("test").histories[:40]]
    whole, stepped = [], []
    for rows in histories:
        history = [ids[row] for row in rows]
        state = recommender.new_state()
        for item in history:
            state = recommender.advance(state, item)
        whole.append([r.item for r in recommender.recommend(history)])
        stepped.append([r.item for r in recommender.recommend_from_state(state, exclude=history)])
    agreement = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(whole, stepped, strict=True)])
    assert agreement == 1 if scheme == "float32" else agreement > 0.9


@pytest.mark.slow
def test_states_say_what_they_are_not_for(recurrent_run: Run, bundle: Path) -> None:
    recommender = Recommender.load(recurrent_run.bundles["int8"])
    state = recommender.new_state()
    assert recommender.advance(state, "never heard of") is state
    fresh = recommender.recommend_from_state(state, k=3)
    assert (fresh.source, [r.item for r in fresh]) == ("popularity", recommender.bundle.items[1:4])
    kept = recommender.advance(state, recommender.bundle.items[3])
    assert not state.any()
    assert recommender.recommend_from_state(kept, k=300).source == "model"  # more than the graph's own list
    with pytest.raises(ValueError, match=r"this model's is float32 \(1, "):
        recommender.advance(state[:, 1:], recommender.bundle.items[3])
    with pytest.raises(BundleError, match="not a recurrent model"):
        Recommender.load(bundle).new_state()


@pytest.mark.slow
def test_the_bench_times_a_step(recurrent_run: Run, bundle: Path) -> None:
    recommender = Recommender.load(recurrent_run.bundles["int8"])
    result = bench(recurrent_run.bundles["int8"], [recommender.bundle.items[1:20]], runs=50)
    assert 0 < result["step_ms"]["p50"] < 50
    assert bench(bundle, [Recommender.load(bundle).bundle.items[1:20]], runs=5)["step_ms"] is None
