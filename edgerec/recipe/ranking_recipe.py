"""The whole recipe of a ranking model (``kind = "ranking"``), checked together here."""

from typing import Literal

from pydantic import Field, model_validator

from edgerec.recipe.compress import Cluster, RankingQuantize
from edgerec.recipe.data import Data
from edgerec.recipe.prune import MagnitudePrune, Prune
from edgerec.recipe.ranker import MlpRanker, Ranker
from edgerec.recipe.ranking_convert import RankingConvert
from edgerec.recipe.ranking_gate import RankingGate
from edgerec.recipe.ranking_train import RankingTrain
from edgerec.recipe.report import Report
from edgerec.recipe.section import Section
from edgerec.recipe.split import RandomRows, RankingSplit
from edgerec.recipe.task import ImplicitTask, RatingTask, Task


class RankingRecipe(Section):
    """What a ranking run makes, from the tables to the report."""

    kind: Literal["ranking"]
    data: Data
    task: Task = RatingTask()
    split: RankingSplit = RandomRows()
    model: Ranker = MlpRanker()
    train: RankingTrain = RankingTrain()
    prune: Prune = Field(MagnitudePrune(enabled=False), description="no pruning without this section")
    cluster: Cluster = Cluster()
    quantize: RankingQuantize = RankingQuantize()
    convert: RankingConvert = RankingConvert()
    gate: RankingGate = RankingGate()
    report: Report = Report()

    @property
    def reads_values(self) -> bool:
        """Whether the labels are the values of the interaction table."""
        return self.task.kind != "implicit"

    @model_validator(mode="after")
    def _tables_have_what_is_read(self) -> "RankingRecipe":
        if self.data.source in ("table", "sql"):  # the others have them
            for name, table in (("item", self.data.items), ("user", self.data.users)):
                if getattr(self.model, f"{name}_features") and table is None:
                    raise ValueError(f"model.{name}_features are columns of [data] {name}s, which the recipe lacks")
            if self.reads_values and self.data.columns.value is None:
                raise ValueError(
                    f'task.kind = "{self.task.kind}" predicts the column that data.columns.value names; name it, or '
                    'choose task.kind = "implicit"'
                )
        return self

    @model_validator(mode="after")
    def _retrieval_is_of_such_a_task(self) -> "RankingRecipe":
        if self.model.retrieval is None:
            if isinstance(self.task, ImplicitTask) and self.task.hard_negatives:
                raise ValueError(
                    "task.hard_negatives are what model.retrieval finds; name a bundle there, or remove them"
                )
            return self
        if not isinstance(self.task, ImplicitTask):
            raise ValueError('model.retrieval needs task.kind = "implicit": what is found is bought or not')
        if self.split.kind == "random":
            raise ValueError(
                'model.retrieval needs split.kind = "leave-one-out" or "temporal", the one of the retrieval model'
            )
        if self.train.refit:
            raise ValueError(
                "train.refit leaves no rows that neither model has learned from, on which model.retrieval is weighted; "
                "remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _units_are_there_to_prune(self) -> "RankingRecipe":
        if self.prune.method == "magnitude" and self.prune.target != "network":
            raise ValueError("prune.target: of a ranking model only the kernels of the network are pruned")
        if self.prune.method == "structured":
            if strange := sorted(set(self.prune.shares) - {"hidden"}):
                raise ValueError(
                    f"prune.shares: a ranking model has no units of the kind {', '.join(strange)}; write "
                    "shares = { hidden = 0.25 }, the units of its dense layers"
                )
            if not self.model.hidden:
                raise ValueError("prune.shares.hidden needs model.hidden, which is empty")
        return self

    @model_validator(mode="after")
    def _layers_are_there_to_compress(self) -> "RankingRecipe":
        cross = self.model.ranker == "dcn"
        for key, asked in (("cluster.clusters", self.cluster.clusters), ("quantize.scheme", self.quantize.scheme)):
            if asked is not None and not self.model.hidden and not cross:
                raise ValueError(f"{key} needs model.hidden, which is empty")
        return self
