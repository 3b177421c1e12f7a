"""Tables -> data set with labels."""

from abc import abstractmethod
from functools import cached_property

from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import LabelledRows, labelled_rows, part_seed
from edgerec.data.retrieved import Retrieved
from edgerec.errors import DataError
from edgerec.stages.prepare import Prepare
from edgerec.stages.stage import Stage


class RankingRows(Stage):
    """A stage whose rows ranking models learn from and are tested on."""

    @property
    @abstractmethod
    def dataset(self) -> Dataset:
        """The data set, made first if need be."""

    @property
    @abstractmethod
    def test_rows(self) -> LabelledRows:
        """The rows that every model is tested on."""

    @property
    def retrieved(self) -> Retrieved | None:
        """What a retrieval model finds, if the recipe names one; made first if need be."""
        return None


class PrepareRanking(Prepare, RankingRows):
    """Reads, cleans and splits the tables of a ranking recipe."""

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, made first if need be.

        Raises:
            DataError: there is nothing to train, validate or test on.
        """
        dataset = Dataset.load(self.made())
        for part, code in (("train", 0), ("validation", 1), ("test", 2)):
            if not (dataset.parts == code).any():
                raise DataError(f"{dataset.name}: no interaction is left for the part {part}; change [split]")
        return dataset

    @cached_property
    def test_rows(self) -> LabelledRows:
        return labelled_rows(self.dataset, self.ranking_recipe.task, ("test",), part_seed("test"))
