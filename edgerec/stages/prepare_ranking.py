"""Tables -> data set with labels."""

from functools import cached_property

from edgerec.data.dataset import Dataset
from edgerec.data.labelled_rows import LabelledRows, labelled_rows, part_seed
from edgerec.errors import DataError
from edgerec.stages.prepare import Prepare


class PrepareRanking(Prepare):
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
        """The rows that every model is tested on."""
        return labelled_rows(self.dataset, self.ranking_recipe.task, ("test",), part_seed("test"))
