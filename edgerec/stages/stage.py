"""What a stage is: it makes one artifact in the run's folder, when that is missing or out of date."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgerec.artifact import fingerprint, new_folder, stamp_of
from edgerec.progress import Progress
from edgerec.recipe import RankingRecipe, Recipe

# Seconds to wait for another process before the user is told.
PATIENCE = 1.0


@dataclass(frozen=True)
class Workspace:
    """What all stages of a run share.

    Attributes:
        folder: where the artifacts are.
        progress: where stages say what they do.
        force: whether the folder may be reused for another data set.
    """

    recipe: Recipe | RankingRecipe
    folder: Path
    progress: Progress
    force: bool = False

    @property
    def retrieval(self) -> Recipe:
        """The recipe, of a retrieval run."""
        assert isinstance(self.recipe, Recipe)
        return self.recipe

    @property
    def ranking(self) -> RankingRecipe:
        """The recipe, of a ranking run."""
        assert isinstance(self.recipe, RankingRecipe)
        return self.recipe

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder: no other process makes anything in it. Re-entrant within a process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock", is_singleton=True)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            self.progress.say(f"{self.folder}: in use by another edgerec; waiting for it to end")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


class Stage(ABC):
    """One step of a pipeline. A subclass says what it is made from and how; the rest is here.

    Attributes:
        name: of its folder in the run's folder.
        inputs: the stages whose artifacts it reads.
    """

    name: str
    inputs: Sequence["Stage"] = ()

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @property
    def recipe(self) -> Recipe:
        """The recipe of a retrieval run."""
        return self.workspace.retrieval

    @property
    def ranking_recipe(self) -> RankingRecipe:
        """The recipe of a ranking run."""
        return self.workspace.ranking

    @abstractmethod
    def settings(self) -> Any:
        """What the artifact depends on apart from the inputs, ready for JSON: all that matters, and nothing else."""

    @abstractmethod
    def make(self, into: Path) -> None:
        """Make the artifact in ``into``, an empty folder that takes its place when this returns.

        All inputs are current when it is called.
        """

    @cached_property
    def made_from(self) -> dict[str, Any]:
        """All that the artifact is made from: ``inputs`` (keys by name), ``settings``, and their ``fingerprint``."""
        inputs = {stage.name: stage.key for stage in self.inputs}
        settings = json.loads(json.dumps(self.settings()))
        return {"fingerprint": fingerprint([self.name, inputs, settings]), "inputs": inputs, "settings": settings}

    @property
    def key(self) -> str:
        """The fingerprint of all that the artifact is made from."""
        return str(self.made_from["fingerprint"])

    @property
    def folder(self) -> Path:
        return self.workspace.folder / self.name

    def is_current(self) -> bool:
        """Whether the artifact is there, made from what the recipe says now."""
        return stamp_of(self.folder).get("fingerprint") == self.key

    def reason(self) -> str:
        """Why the artifact would be made, in words; ``""`` if it is current."""
        if self.is_current():
            return ""
        stamp = stamp_of(self.folder)
        if not stamp:
            return "it is not there"
        changed = [f"{name} is made again" for name, key in self.made_from["inputs"].items()
                   if stamp.get("inputs", {}).get(name) != key]  # fmt: skip
        changed += _differences(stamp.get("settings"), self.made_from["settings"])
        return "; ".join(changed) or "it was made by another version"

    def made(self) -> Path:
        """The artifact's folder; made first, after its inputs, if it is missing or out of date."""
        if not self.is_current():
            with self.workspace.locked():
                for stage in self.inputs:
                    stage.made()
                if not self.is_current():  # not made by another process meanwhile
                    with new_folder(self.folder, self.made_from) as into:
                        self.make(into)
        return self.folder


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """The settings that differ, ``key: before -> now``, each with its path of keys."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = list(dict.fromkeys([*before, *now]))
        return [text for key in keys for text in _differences(before.get(key), now.get(key), f"{path}{key}.")]
    return [] if before == now else [f"{path.rstrip('.') or 'settings'}: {_shown(before)} -> {_shown(now)}"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
