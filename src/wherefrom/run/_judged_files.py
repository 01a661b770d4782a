"""Scores that any tool wrote, judged by every metric that fits, beside a run's own methods if asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wherefrom.atomic import file_name
from wherefrom.data import Example, read_examples
from wherefrom.errors import DataError, SettingError
from wherefrom.methods import parse_method
from wherefrom.metrics import Retrainings
from wherefrom.progress import say
from wherefrom.run._evaluation import retrainings_of, truth_of_rows
from wherefrom.run._judgement import (
    Line,
    judge,
    judgement_frame,
    mislabelled_lines,
    mislabelled_share,
    randomisation_lines,
)
from wherefrom.run._run import Run
from wherefrom.run._self_influence import mislabelled_flags
from wherefrom.scores import Scores, read_matrix, read_scores, read_self_influence

if TYPE_CHECKING:
    import pandas as pd

Sign = Literal["positive", "negative"]


def evaluate_file(
    scores: Path | Sequence[Path],
    data: Path,
    sign: Sign | Sequence[Sign] = "positive",
    *,
    self_influence: Sequence[Path] = (),
    randomised: Sequence[Path] = (),
    against: Sequence[str] = (),
) -> pd.DataFrame:
    """Judges score matrices that any tool wrote.

    Args:
        scores: one or several, queries × training rows, as `read_matrix` takes them. Several are also
            held against each other.
        data: a run folder, or a folder with `train.*` and `test.*` (or `queries.*`) files. Rows that
            carry a class are judged by it, a run's retrainings judge too.
        sign: `negative` where the most helpful row has the lowest score; one for all matrices or one for
            each.
        self_influence: one number for each training row, higher = odder, as `read_self_influence` takes
            them: judged as detectors of the rows whose column `mislabelled` says true.
        randomised: for each of `scores`, a matrix by the same method of the model with randomised weights,
            of the same sign.
        against: methods of the run `data` that are judged and compared beside; `all` stands for all
            that are scored.

    Returns:
        One line for each number, as `judge_run` gives them, without a recipe.

    Raises:
        DataError: files are missing or damaged, or do not fit the data; or rows carry classes or flags
            in part, or none where they are needed.
        SettingError: nothing was given to judge, signs or randomised matrices are not one for each, or
            the run has not scored a method.
    """
    paths = [scores] if isinstance(scores, Path) else list(scores)
    signs = [sign] * len(paths) if isinstance(sign, str) else list(sign)
    signs = signs * len(paths) if len(signs) == 1 else signs
    if not (paths or self_influence):
        raise SettingError("there is nothing to judge: give --scores or --self-influence.")
    if len(signs) != len(paths):
        raise SettingError(
            f"{len(signs)} signs for {len(paths)} score files; give --sign once, or once for each."
        )
    if len(randomised) not in (0, len(paths)):
        raise SettingError(
            f"{len(randomised)} randomised matrices for {len(paths)} score files; give --randomised once "
            "for each --scores, in the same order."
        )
    held = _Held.of(data)
    own = held.scored(against) if against else []
    names = _names(paths, {one.method for one in own})
    judged = [
        replace(held.matrix(path, way), method=name)
        for path, way, name in zip(paths, signs, names, strict=True)
    ]
    truth = truth_of_rows(held.train, held.queries)
    if truth is None:
        say(f"{data}: the rows carry no class, so nothing is judged by classes.")
    lines: list[Line] = []
    if judged or own:
        lines += judge([*judged, *own], truth, held.retrainings)
    for one, path, way in zip(judged, randomised, signs, strict=False):
        lines += randomisation_lines(one, held.matrix(path, way))
    if self_influence:
        flags = mislabelled_flags(held.train)
        lines.append(mislabelled_share(flags))
        ids = tuple(row.id for row in held.train)
        for path, name in zip(self_influence, _names(self_influence, set()), strict=True):
            lines += mislabelled_lines(name, read_self_influence(path, ids), flags)
    return judgement_frame(lines)


@dataclass(frozen=True)
class _Held:
    """What scores are judged on.

    Attributes:
        run: where the rows are those of a run.
        retrainings: where the run has some.
    """

    train: list[Example]
    queries: list[Example]
    folder: Path
    run: Run | None = None
    retrainings: Retrainings | None = None

    @classmethod
    def of(cls, folder: Path) -> _Held:
        if (folder / "run.yaml").is_file():
            run = Run.open(folder)
            return cls(run.train, run.queries, folder, run, retrainings_of(run))
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder.")
        found = []
        for names in (("train",), ("test", "queries")):
            files = [p for name in names for p in sorted(folder.glob(f"{name}.*"))]
            if not files:
                raise DataError(
                    f"{folder}: has no file {' or '.join(f'{n}.jsonl' for n in names)}."
                )
            found.append(read_examples(files[0]))
        return cls(found[0], found[1], folder)

    def matrix(self, path: Path, sign: Sign) -> Scores:
        return read_matrix(
            path, tuple(row.id for row in self.queries), tuple(row.id for row in self.train), sign
        )

    def scored(self, methods: Sequence[str]) -> list[Scores]:
        """Scores of the run's own methods under its first recipe, as they lie in its folder."""
        if self.run is None:
            raise SettingError(
                f"{self.folder}: --against takes methods of a run, but this is no run folder."
            )
        folder = self.run.path / "scores" / self.run.config.recipes()[0].name
        there = sorted(folder.glob("*.parquet"))
        if "all" in methods:
            paths = there
        else:
            specs = dict.fromkeys(parse_method(text).spec for text in methods)
            paths = [folder / f"{file_name(spec)}.parquet" for spec in specs]
        for path in paths:
            if path not in there:
                has = ", ".join(p.stem for p in there) or "none"
                raise SettingError(
                    f"{self.run.path} has no scores of {path.stem}; it has {has}. Score it first: "
                    f'`wherefrom index {self.run.path} --methods "{path.stem}"`, then `wherefrom evaluate '
                    f"{self.run.path}`."
                )
        if not paths:
            raise SettingError(
                f"{self.run.path} has no scores. Run `wherefrom evaluate {self.run.path}` first."
            )
        return [read_scores(path) for path in paths]


def _names(paths: Sequence[Path], taken: set[str]) -> list[str]:
    """What files are called in tables: their name without its ending, or the path where that is taken."""
    stems = [path.stem for path in paths]
    return [
        str(path) if path.stem in taken or stems.count(path.stem) > 1 else path.stem
        for path in paths
    ]
