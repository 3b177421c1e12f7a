"""A scheme, a pruning criterion and a stage are a new file each: here they are files in a folder of the test's own, and
no file of the project knows them.
"""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import small_recipe

from converters.schemes import SCHEMES
from device_runner import Recommender
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.pruning.criteria import CRITERIA
from edgerec.stages.stage import Workspace

SCHEME = '''
from converters.schemes.scheme import SCHEMES, Scheme

def configure(converter):
    """Nothing to set."""

def described(content: bytes) -> bytes:
    """Write something else in the flatbuffer's description."""
    from ai_edge_litert.tools import flatbuffer_utils
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    model.description = b"dummy"
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))

SCHEMES.register("dummy", Scheme(
    "dummy", "float32 with another description", __name__, configure, steps=(described,),
    least={"overlap@10": 0.999}, most={"score_error": 1e-3}, runtimes=("litert",),
))
'''

CRITERION = '''
import numpy as np
from edgerec.pruning.criteria.criterion import CRITERIA

def first_units(groups, objective):
    """The later a unit stands, the less it counts."""
    return {group.name: -np.arange(group.units, dtype=float) for group in groups}

CRITERIA.register("first-units", first_units)
'''

STAGE = '''
import json
from edgerec.stages.stage import Stage

class CountItems(Stage):
    """Data set -> the number of its items."""

    name = "counted"

    def __init__(self, workspace, prepared):
        super().__init__(workspace)
        self.inputs = [prepared]
        self.prepared = prepared

    def settings(self):
        return []

    def make(self, into):
        (into / "count.json").write_text(json.dumps(self.prepared.dataset.items))
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], object]]:
    """Writes a module into a folder on the import path and imports it; afterwards it is gone again."""
    schemes, criteria = dict(SCHEMES), dict(CRITERIA)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(name: str, content: str) -> object:
        (tmp_path / f"{name}.py").write_text(content)
        names.append(name)
        return importlib.import_module(name)

    yield write
    for registry, before in ((SCHEMES, schemes), (CRITERIA, criteria)):
        for name in set(registry) - set(before):
            del registry[name]
    for name in names:
        sys.modules.pop(name)


def test_a_scheme_is_one_file(added: Callable[[str, str], object], random_bundle: Callable[..., Path]) -> None:
    added("dummy_scheme", SCHEME)
    path = random_bundle(scheme="dummy")
    assert b"dummy" in path.read_bytes()
    recommender = Recommender.load(path)
    assert recommender.bundle.scheme == "dummy"
    assert list(recommender.bundle.runtimes) == ["litert"]
    assert len(recommender.recommend(["i1"])) == 10


def test_a_pruning_criterion_is_one_file(added: Callable[[str, str], object]) -> None:
    from tiny import architecture

    from edgerec.pruning.methods.structured import structured
    from edgerec.recipe.prune import StructuredPrune
    from edgerec.recommenders import SequenceRecommender

    with pytest.raises(ValueError, match="unknown criterion 'first-units'"):
        StructuredPrune(method="structured", criterion="first-units")
    added("dummy_criterion", CRITERION)
    recommender = SequenceRecommender(architecture(encoder="gru", dim=4, blocks=1, expansion=4, max_history=3), 9)
    settings = StructuredPrune(method="structured", criterion="first-units", shares={"feed_forward": 0.75})
    smaller = structured(recommender, settings, None).recommender
    kept = recommender.network.get_layer("widen_0").kernel.numpy()[:, :4]
    assert (smaller.network.get_layer("widen_0").kernel.numpy() == kept).all()


def test_a_stage_is_one_file(added: Callable[[str, str], object], purchases: Path, tmp_path: Path) -> None:
    module = added("dummy_stage", STAGE)
    run = Run(small_recipe(purchases), tmp_path / "run", Progress())
    stage = module.CountItems(Workspace(run.recipe, run.folder, Progress()), run.stages.prepared)
    assert json.loads((stage.made() / "count.json").read_text()) == run.dataset.items
    made = (stage.folder / "count.json").stat().st_mtime_ns
    assert module.CountItems(Workspace(run.recipe, run.folder, Progress()), run.stages.prepared).made() == stage.folder
    assert (stage.folder / "count.json").stat().st_mtime_ns == made
