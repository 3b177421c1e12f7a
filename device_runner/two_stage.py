"""Two stages on the device: a recommender retrieves candidates, a ranker puts them in order."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from device_runner.backends import choose_backend
from device_runner.bundle import Bundle
from device_runner.errors import BundleError
from device_runner.ranker import NOTHING, Ranker, check_mapping
from device_runner.recommendations import Recommendations
from device_runner.recommender import Recommender
from device_runner.selection import NO_ROWS, Selection, caps_of
from device_runner.vocabulary import listed

CLOCK = time.perf_counter
# Calls whose times are kept for the report.
KEPT = 1000
PERCENTILES = (50, 90, 99)
# Of the most popular items, how many are looked up in the ranker's catalogue at loading.
CHECKED = 1000


class TwoStage:
    """A recommender and a ranker that are called as one.

    >>> two_stage = TwoStage.load("model.tflite", "ranker.tflite")                       # doctest: +SKIP
    >>> two_stage.recommend(["1029743"], k=5, user={"age": 31}, context={"hour": "18"})    # doctest: +SKIP

    Attributes:
        recommender: retrieves.
        ranker: orders what was retrieved.
        candidates: how many items are retrieved.
    """

    def __init__(self, recommender: Recommender, ranker: Ranker, candidates: int = 100) -> None:
        if candidates < 1:
            raise ValueError(f"candidates is {candidates}; retrieve at least one item")
        self.recommender, self.ranker, self.candidates = recommender, ranker, candidates
        self._times: deque[tuple[float, float]] = deque(maxlen=KEPT)

    @classmethod
    def load(
        cls,
        recommender: str | Path | bytes,
        ranker: str | Path | bytes,
        candidates: int = 100,
        backend: str = "auto",
        threads: int = 1,
    ) -> "TwoStage":
        """Load both bundles; see ``Recommender.load``, also for what is raised. ``"auto"`` takes a runtime that both
        were verified on. A ranker that knows none of the most popular items is a ``BundleError``.
        """
        bundles = Bundle.read(recommender), Bundle.read(ranker)
        # Both on one runtime: two in one process refuse each other's files.
        chosen = choose_backend(backend, *(bundle.runtimes for bundle in bundles))
        retrieves, ranks = Recommender.load(bundles[0], chosen, threads), Ranker.load(bundles[1], chosen, threads)
        if ranks.reads_items and not ranks.known(retrieves.bundle.items[1 : CHECKED + 1]):
            raise BundleError(
                f"{ranks.bundle.path}: knows none of the items of {retrieves.bundle.path}, to put in order; "
                "train both on one catalogue"
            )
        return cls(retrieves, ranks, candidates)

    def close(self) -> None:
        """Close both."""
        self.recommender.close()
        self.ranker.close()

    def __enter__(self) -> "TwoStage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recommend(
        self,
        history: Iterable[str],
        k: int = 10,
        exclude: Iterable[str] | None = None,
        exclude_history: bool | None = None,
        user: Mapping[str, object] | None = None,
        context: Mapping[str, object] = NOTHING,
        history_values: Iterable[float | None] | None = None,
        allow: Iterable[str] | None = None,
        at_most: Mapping[str, int] | None = None,
    ) -> Recommendations:
        """The ``k`` best items by the ranker, among those that the recommender retrieves.

        Args:
            history, exclude, exclude_history, allow: as in ``Recommender.recommend``.
            k: how many items. If it is more than ``candidates``, so many are retrieved.
            user: features of the user by name; each model is given those that it reads.
            context, history_values: as in ``Ranker.score``.
            at_most: as in ``Recommender.recommend``, in the order of the ranker. Where the candidates cannot fill the
                list by this rule, more are retrieved.

        Returns:
            The items, best first, with the ranker's scores; of equal scores, the one that was retrieved first comes
            first. ``source`` says what the candidates are from.

        Raises:
            TypeError, ValueError: as ``Recommender.recommend`` and ``Ranker.score``; a feature of the user that neither
                model reads is a ``ValueError``.
        """
        ours, theirs = self._split({} if user is None else user)
        # Each is read more than once.
        exclude, allow, history, history_values = map(listed, (exclude, allow, history, history_values))
        caps = () if at_most is None else caps_of(at_most, self.recommender.bundle.attributes)
        count = max(self.candidates, k) if k >= 1 else k  # the recommender refuses a k below 1
        retrieving = ranking = 0.0  # seconds
        while True:
            start = CLOCK()
            found = self.recommender.recommend(history, count, exclude, exclude_history, ours, allow=allow)
            retrieved = CLOCK()
            # What is popular has no score of its own.
            own = [entry.score if found.source == "model" else None for entry in found]
            items = [entry.item for entry in found]
            scores = self.ranker.score(theirs, items, context, history, history_values, own)
            order = np.argsort(-np.array(scores), kind="stable").tolist()
            if caps:
                rows = self.recommender.rows(items)
                order = [
                    order[place] for place in Selection(NO_ROWS, None, caps).within_caps([rows[n] for n in order], k)
                ]
            retrieving, ranking = retrieving + retrieved - start, ranking + CLOCK() - retrieved
            if len(order) >= k or len(found) < count:
                break
            count *= 4
        self._times.append((retrieving, ranking))
        ranked = (replace(found[place], score=scores[place]) for place in order[:k])
        return Recommendations(ranked, found.unknown, found.source)

    @property
    def report(self) -> dict[str, Any]:
        """Times of the last calls, up to 1000, ready for JSON: ``calls``, ``candidates``, and the percentiles p50, p90
        and p99 in ms of ``retrieve_ms``, ``rank_ms`` (with the preparation of the features) and ``total_ms``; without
        percentiles before the first call.
        """
        times = np.array(self._times, np.float64).reshape(-1, 2) * 1e3
        parts = {"retrieve_ms": times[:, 0], "rank_ms": times[:, 1], "total_ms": times.sum(1)}
        return {
            "calls": len(times),
            "candidates": self.candidates,
            **{
                name: {f"p{p}": round(float(np.percentile(values, p)), 4) for p in PERCENTILES} if len(values) else {}
                for name, values in parts.items()
            },
        }

    def _split(self, user: Mapping[str, object]) -> tuple[dict[str, object], dict[str, object]]:
        """What the recommender and the ranker read of the user."""
        check_mapping("user", user)
        names = {feature.name for feature in self.recommender.bundle.user_features}
        ranked = {feature.name for feature in self.ranker.features if feature.of == "user"}
        if strange := [name for name in user if name not in names | ranked]:
            known = ", ".join(sorted(names | ranked)) or "none"
            raise ValueError(f"neither model has a user feature {', '.join(strange)}; they have: {known}")
        return (
            {name: value for name, value in user.items() if name in names},
            {name: value for name, value in user.items() if name in ranked},
        )
