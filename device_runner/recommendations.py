"""What a recommender returns: a list of items with their scores."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, init=False)
class Recommendation:
    """One recommended item.

    Attributes:
        item: its raw id.
        score: higher is better; comparable within one call.
        title: ``""`` where the bundle has none.
        because: raw id of the event of the history that contributed most to it; ``None`` unless it was asked for
            (``recommend(…, explain=True)``) and there is one.
    """

    item: str
    score: float
    title: str
    because: str | None = None

    def __init__(self, item: str, score: float, title: str, because: str | None = None) -> None:
        # Half the time of the generated one, which sets each attribute of a frozen class by a call; there are k in a
        # list.
        attributes = self.__dict__
        attributes["item"] = item
        attributes["score"] = score
        attributes["title"] = title
        attributes["because"] = because


class Recommendations(list[Recommendation]):
    """The list that ``recommend`` returns, best first.

    Attributes:
        unknown: how many events of the history are not in the catalogue and were skipped.
        source: ``"model"``, or ``"popularity"`` without any known event or user feature.
    """

    def __init__(self, items: Iterable[Recommendation], unknown: int, source: str) -> None:
        super().__init__(items)
        self.unknown = unknown
        self.source = source
