"""States of a run's model: which there are, and which passes a set of needs comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from wherefrom.models import LoadedModel, has_moments, read_checkpoints, same_weights
from wherefrom.signals import At, Need, Side


@dataclass(frozen=True)
class State:
    """One state of the model.

    Attributes:
        name: `final`, `base`, `step-000010`, `draw-003`.
        folder: where its weights lie; None for the model as it is.
        rate: mean learning rate of the steps that it stands for.
        steps: how many steps these are.
        step: optimizer steps taken by then; None where nobody kept count.
    """

    name: str
    folder: Path | None = None
    rate: float = 1.0
    steps: int = 0
    step: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is the model as it is, whatever rate it stands for as a checkpoint."""
        return self.folder is None

    @property
    def is_draw(self) -> bool:
        """Whether it was drawn around the final weights."""
        return self.name.startswith("draw-")


FINAL = State("final")


@dataclass(frozen=True)
class States:
    """The states that a run can be passed over in.

    Attributes:
        checkpoints: along the training run, first to last; where the final model is among them, it goes by
            that name, so that it is not passed over twice.
        base: the model before the first step; None without a trajectory.
        draws: weights drawn around the final ones.
        moments: folder of AdamW's moments of the final model; None where the optimizer was not kept.
        final: the model as it is.
    """

    checkpoints: tuple[State, ...] = ()
    base: State | None = None
    draws: tuple[State, ...] = ()
    moments: Path | None = None
    final: State = FINAL

    @classmethod
    def of(
        cls, loaded: LoadedModel, trajectory: Path | None, most: int, adapter: Path | None = None
    ) -> States:
        """Those of a trajectory.

        Args:
            loaded: the final model.
            trajectory: the folder that fine-tuning left; need not exist. None where there is none.
            most: how many checkpoints to keep.
            adapter: folder of an adapter trained elsewhere; the optimizer state that a trainer saved
                beside it serves for the final model.
        """
        moments = adapter if adapter is not None and has_moments(adapter) else None
        if trajectory is None or not trajectory.is_dir():
            return cls(moments=moments)
        saved, final = read_checkpoints(trajectory), FINAL
        last = saved[-1].folder if saved and same_weights(loaded, saved[-1].folder) else None
        if last is not None:
            final = replace(FINAL, step=saved[-1].step)
            moments = last if has_moments(last) else moments
        found = []
        for one in read_checkpoints(trajectory, most):
            name, folder = (FINAL.name, None) if one.folder == last else (one.name, one.folder)
            found.append(State(name, folder, one.rate, one.steps, one.step))
        initial = trajectory / "initial"
        base = State("base", initial, step=0) if initial.is_dir() else None
        return cls(tuple(found), base, (), moments, final)

    def at(self, at: At) -> tuple[State, ...]:
        """The states that a need means."""
        if at is At.BASE:
            return (self.base,) if self.base else ()
        return {
            At.FINAL: (self.final,),
            At.CHECKPOINTS: self.checkpoints,
            At.DRAWS: self.draws,
        }[at]


@dataclass(frozen=True)
class PlannedPass:
    """One pass: a state, a side, and everything that is read off it.

    Attributes:
        state: where.
        side: whose rows.
        needs: what; `at` says no more than the state does.
    """

    state: State
    side: Side
    needs: frozenset[Need]

    @property
    def backwards(self) -> int:
        """How many backward passes it takes: one for each target."""
        return len({(n.target if n.kind.value == "gradient" else n.kind) for n in self._backward()})

    def _backward(self) -> set[Need]:
        found = {need for need in self.needs if need.kind.backward}
        targets = {need.target for need in found if need.kind.value == "gradient"}
        # hidden states share the loss's backward, factors that of the drawn labels
        shared = {"gradient of hidden states": "loss", "Kronecker factors": "sampled"}
        return {n for n in found if shared.get(n.kind.value) not in targets}


def merge(needs: Iterable[Need], states: States) -> list[PlannedPass]:
    """The fewest passes that serve the needs: one for each state and side that any of them means."""
    by_place: dict[tuple[str, Side], tuple[State, set[Need]]] = {}
    for need in sorted(needs):
        for state in states.at(need.at):
            held = by_place.setdefault((state.name, need.side), (state, set()))
            held[1].add(Need(need.kind, need.target, need.side))
    order = {name: i for i, (name, _) in enumerate(sorted(by_place, key=_order))}
    places = sorted(by_place, key=lambda key: (order[key[0]], list(Side).index(key[1])))
    return [PlannedPass(by_place[p][0], p[1], frozenset(by_place[p][1])) for p in places]


def _order(place: tuple[str, Side]) -> tuple[int, str]:
    name = place[0]
    kinds = ("final", "step-", "base", "draw-")
    return next(i for i, kind in enumerate(kinds) if name.startswith(kind)), name
