"""Kept states of the project's own recurrent encoders: one step a new event, on the device's runtimes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from device_runner import BundleError, Recommender
from device_runner.backends import installed_backends
from device_runner.bench import bench


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize(("encoder", "blocks"), [("gru", 1), ("gru", 2), ("lru", 2)])
def test_stepping_gives_what_the_whole_history_gives(
    random_bundle: Callable[..., Path], encoder: str, blocks: int, scheme: str
) -> None:
    recommender = Recommender.load(random_bundle(items=200, scheme=scheme, encoder=encoder, blocks=blocks))
    assert set(recommender.bundle.runtimes) == set(installed_backends())
    rng = np.random.default_rng(1)
    agreement = []
    for length in rng.integers(1, 7, 40):
        history = [f"i{row}" for row in rng.integers(1, 201, length)]
        state = recommender.new_state()
        for item in history:
            state = recommender.advance(state, item)
        whole = {entry.item for entry in recommender.recommend(history)}
        stepped = {entry.item for entry in recommender.recommend_from_state(state, exclude=history)}
        agreement.append(len(whole & stepped) / 10)
    assert np.mean(agreement) == 1 if scheme == "float32" else np.mean(agreement) > 0.9


@pytest.mark.slow
def test_an_encoder_without_a_state_says_so_and_has_no_step(random_bundle: Callable[..., Path]) -> None:
    path = random_bundle(encoder="mean")
    with pytest.raises(BundleError, match="not a recurrent model"):
        Recommender.load(path).new_state()
    assert bench(path, [["i1", "i2"]], runs=5)["step_ms"] is None
