"""The whole recipe: one section a file, checked together here."""

from typing import Literal

from pydantic import model_validator

from edgerec.recipe.convert import Convert
from edgerec.recipe.data import Data
from edgerec.recipe.distill import Distill
from edgerec.recipe.gate import Gate
from edgerec.recipe.model import GruModel, Model
from edgerec.recipe.prune import MagnitudePrune, Prune
from edgerec.recipe.quantize import Quantize
from edgerec.recipe.report import Report
from edgerec.recipe.section import Section
from edgerec.recipe.split import LeaveOneOut, Split
from edgerec.recipe.train import Train


class Recipe(Section):
    """What a run makes, from the tables to the report.

    Attributes:
        kind: which pipeline makes it (``edgerec.pipeline.PIPELINES``).
    """

    kind: Literal["retrieval"] = "retrieval"
    data: Data
    split: Split = LeaveOneOut()
    model: Model = GruModel()
    train: Train = Train()
    distill: Distill = Distill()
    prune: Prune = MagnitudePrune()
    quantize: Quantize = Quantize()
    convert: Convert = Convert()
    gate: Gate = Gate()
    report: Report = Report()

    @model_validator(mode="after")
    def _features_have_tables(self) -> "Recipe":
        if self.data.source in ("table", "sql"):  # the others have them
            for name, table in (("item", self.data.items), ("user", self.data.users)):
                if getattr(self.model, f"{name}_features") and table is None:
                    raise ValueError(f"model.{name}_features are columns of [data] {name}s, which the recipe lacks")
        if self.convert.new_items is not None and not self.model.item_features:
            raise ValueError("convert.new_items needs model.item_features: new items are known by these alone")
        return self

    @model_validator(mode="after")
    def _files_leave_out_what_is_pruned(self) -> "Recipe":
        if self.prune.method == "tile":
            raise ValueError('prune.method = "tile" needs kind = "ranking": only its files leave out tiles of zeros')
        return self

    @model_validator(mode="after")
    def _units_are_there_to_prune(self) -> "Recipe":
        kinds = self.prune.shares if self.prune.method == "structured" else {}
        if "hidden" in kinds:
            raise ValueError('prune.shares.hidden needs kind = "ranking"; an encoder has the units feed_forward')
        if "state" in kinds and self.model.encoder not in ("gru", "lru"):
            raise ValueError(f'prune.shares.state needs model.encoder = "gru" or "lru", not "{self.model.encoder}"')
        if "heads" in kinds and (self.model.encoder != "sasrec" or self.model.heads == 1):
            raise ValueError('prune.shares.heads needs model.encoder = "sasrec" with heads > 1')
        if "blocks" in kinds and self.model.blocks == 1:
            raise ValueError("prune.shares.blocks needs model.blocks > 1")
        return self
