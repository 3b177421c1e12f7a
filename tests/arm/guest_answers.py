"""Print what bundles answer to their golden vectors, as JSON: run on x86-64 and on each emulated processor.

``python guest_answers.py RUNTIME PATH …`` needs nothing but the device's install. Each bundle's golden vectors are
checked. Then, of each of them: the rows and scores of ``recommend_rows``; where the model has a state, those of the
state after the same events; of a ranking model the scores.
"""

import json
import platform
import sys
from typing import Any

import numpy as np

from device_runner import Recommender
from device_runner.bundle import Bundle
from device_runner.contract import Ranking
from device_runner.golden import check_golden

K = 10


def answers(path: str, runtime: str) -> list[dict[str, Any]]:
    """What the bundle answers to each of its golden cases."""
    check_golden(path, runtime)
    bundle = Bundle.read(path)
    if isinstance(bundle.contract, Ranking):
        from device_runner.ranker import Ranker

        ranker = Ranker.load(path, backend=runtime)
        names = ("user", "candidates", "context", "history", "history_values")
        return [{"scores": list(ranker.score(*(case[name] for name in names)))} for case in bundle.golden()]
    recommender = Recommender.load(path, backend=runtime)
    names = recommender.bundle.items
    found = []
    for case in recommender.bundle.golden():
        ids, scores = recommender.recommend_rows(case["history"], case["exclude"], len(case["ids"]))
        answer: dict[str, Any] = {"ids": ids.tolist(), "scores": scores.tolist()}
        events = [row for row in case["history"] if row <= recommender.contract.items]
        listed = recommender.recommend([names[row] for row in events], K)
        answer |= {"items": [entry.item for entry in listed], "item_scores": [entry.score for entry in listed]}
        if recommender.contract.state:
            state = recommender.new_state()
            for row in events[-recommender.contract.max_history :]:
                state = recommender.advance(state, names[row])
            after = recommender.recommend_from_state(state, K, [names[row] for row in events])
            answer |= {"state_items": [entry.item for entry in after], "state_scores": [e.score for e in after]}
        found.append(answer)
    return found


if __name__ == "__main__":
    _, runtime, *paths = sys.argv
    about = {"machine": platform.machine(), "numpy": np.__version__, "python": platform.python_version()}
    print(json.dumps({"about": about, "answers": [answers(path, runtime) for path in paths]}))
