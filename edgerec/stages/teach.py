"""Teacher -> what it predicts after each training event."""

from functools import cached_property
from pathlib import Path
from typing import Any

from edgerec.artifact import stamp_of
from edgerec.evaluation.device import check_split
from edgerec.evaluation.ranking import FILE
from edgerec.recipe.distill import OWN
from edgerec.recommenders import SequenceRecommender
from edgerec.recommenders.ensemble import Ensemble, load_model, members_of
from edgerec.recommenders.parts import Parts
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Stage, Workspace
from edgerec.training.distillation import SoftTargets, soft_targets


class Teach(Stage):
    """The soft targets of distillation.

    Args:
        trained: the model of this run, if that is the teacher.
    """

    name = "taught"

    def __init__(self, workspace: Workspace, prepared: Prepare, trained: Stage | None = None) -> None:
        super().__init__(workspace)
        self._prepared, self._trained = prepared, trained
        self.inputs = [prepared, *([] if trained is None else [trained])]

    def settings(self) -> Any:
        distill = self.recipe.distill
        settings = distill.model_dump(exclude={"weight"})
        if distill.teacher != OWN:  # another model in the same folder is another teacher
            settings["teacher"] = stamp_of(Path(str(distill.teacher))).get("fingerprint", distill.teacher)
        return settings

    @cached_property
    def taught(self) -> SoftTargets:
        """The soft targets, made first if need be."""
        return SoftTargets.load(self.made())

    @property
    def evaluated(self) -> Path | None:
        """The folder of a teacher that is not of this run, if it has been evaluated."""
        folder = Path(str(self.recipe.distill.teacher))
        return folder if self._trained is None and (folder / FILE).is_file() else None

    def make(self, into: Path) -> None:
        dataset, distill = self._prepared.dataset, self.recipe.distill
        teacher = self._teacher()
        with self.workspace.progress.steps("what the teacher predicts", dataset.users) as bar:
            soft_targets(teacher, dataset, distill, bar.advance).save(into)

    def _teacher(self) -> SequenceRecommender | Ensemble:
        folder = Path(str(self.recipe.distill.teacher)) if self._trained is None else self._trained.made()
        teacher = load_model(folder)
        check_split(folder, teacher.split_fingerprint, self._prepared.dataset)
        if not self.recipe.distill.parts:
            for member in members_of(teacher):
                member.parts = Parts()
        return teacher
