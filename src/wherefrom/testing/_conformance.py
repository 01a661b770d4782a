"""check_method: every check on every model, all failures told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.errors import SettingError
from wherefrom.methods import Method, parse_method
from wherefrom.testing._bench import MODES, Bench, Mode, make_bench
from wherefrom.testing._checks import CHECKS, Failed, checks
from wherefrom.testing._models import KINDS


@dataclass(frozen=True)
class Outcome:
    """What one check of one method on one model came to.

    Attributes:
        method: the method's spec.
        kind: architecture.
        mode: what was trained.
        check: the check's name.
        failure: what is wrong; None where nothing is.
        skipped: why it was not run; None where it was.
    """

    method: str
    kind: str
    mode: str
    check: str
    failure: str | None = None
    skipped: str | None = None

    def __str__(self) -> str:
        found = self.failure or (f"skipped: {self.skipped}" if self.skipped else "passed")
        return f"{self.method} on {self.kind}/{self.mode}, {self.check}: {found}"


@dataclass(frozen=True)
class Report:
    """What all checks came to.

    Attributes:
        outcomes: in the order in which they were run.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> list[Outcome]:
        """Checks that were run and found nothing."""
        return [o for o in self.outcomes if o.failure is None and o.skipped is None]

    @property
    def failed(self) -> list[Outcome]:
        """Checks that found something wrong."""
        return [o for o in self.outcomes if o.failure is not None]

    @property
    def skipped(self) -> list[Outcome]:
        """Checks that do not apply, each with its reason."""
        return [o for o in self.outcomes if o.skipped is not None]

    def __str__(self) -> str:
        counts = (
            f"{len(self.passed)} passed, {len(self.skipped)} skipped, {len(self.failed)} failed"
        )
        return "\n".join([counts, *(str(o) for o in (*self.failed, *self.skipped))])


class ConformanceError(AssertionError):
    """A method breaks the contract that all methods keep.

    Attributes:
        report: every check, those that passed too.
    """

    def __init__(self, report: Report) -> None:
        places: dict[tuple[str, str, str | None], list[str]] = {}
        for o in report.failed:
            places.setdefault((o.method, o.check, o.failure), []).append(f"{o.kind}/{o.mode}")
        lines = [
            f"{m} on {', '.join(at)}, {check}: {what}" for (m, check, what), at in places.items()
        ]
        super().__init__("\n".join(lines))
        self.report = report

    @property
    def checks(self) -> set[str]:
        """Names of the checks that failed."""
        return {outcome.check for outcome in self.report.failed}


def check_method(
    method: Method | type[Method] | str,
    *,
    kinds: Sequence[str] = KINDS,
    modes: Sequence[Mode] = MODES,
    only: Sequence[str] = CHECKS,
) -> Report:
    """Checks that a method keeps the contract: one sign, no dependence on order, batches or pads, …

    Tiny models are made and fine-tuned in this process, about a second each, once; nothing is fetched.

    Example, in a test of your own::

        from wherefrom.testing import check_method

        def test_my_method_keeps_the_contract():
            check_method("my_method(k=3)", kinds=["llama", "gpt2"], modes=["lora"])

    Args:
        method: a method, a spec, or a class, of which every variant is checked.
        kinds: architectures: `llama`, `gpt2`, `neox`, `gemma`.
        modes: what is trained: `lora`, `full`.
        only: names of checks, out of `CHECKS`.

    Returns:
        Which checks passed, and which were skipped and why.

    Raises:
        ConformanceError: some check failed; all failures are told, with method, model, check and numbers.
        SettingError: no such check, kind or mode; or the class has no name.
    """
    unknown = [name for name in only if name not in CHECKS]
    if unknown:
        raise SettingError(f"no check is called {unknown[0]!r}. Checks: {', '.join(CHECKS)}.")
    outcomes: list[Outcome] = []
    first: Exception | None = None
    for m in _methods(method):
        for mode in modes:
            for kind in kinds:
                found, error = _run(m, make_bench(kind, mode), only)
                outcomes += found
                first = first or error
    report = Report(tuple(outcomes))
    if report.failed:
        raise ConformanceError(report) from first
    return report


def _methods(method: Method | type[Method] | str) -> list[Method]:
    if isinstance(method, str):
        return [parse_method(method)]
    cls = method if isinstance(method, type) else type(method)
    for attribute in ("name", "family"):
        if not getattr(cls, attribute, None):
            raise SettingError(
                f"{cls.__name__} has no {attribute}: write `{attribute}: ClassVar[str] = …` in the class"
                + (", or decorate it with @method(…)." if attribute == "name" else ".")
            )
    return method.variants() if isinstance(method, type) else [method]


def _run(m: Method, bench: Bench, only: Sequence[str]) -> tuple[list[Outcome], Exception | None]:
    """Outcomes, and what an exception of the method's own was, for a traceback."""

    def outcome(check: str, failure: str | None = None, skipped: str | None = None) -> Outcome:
        return Outcome(m.spec, bench.kind, bench.mode, check, failure, skipped)

    lacking = bench.lacks(m)
    if lacking:
        return [outcome(name, skipped=lacking) for name in only], None
    outcomes: list[Outcome] = []
    error: Exception | None = None
    scored = True
    for name, check in checks().items():
        if name not in only:
            continue
        if not scored:
            # what gives no scores at all has one fault, not ten
            outcomes.append(outcome(name, skipped=f"there are no scores: see {CHECKS[0]}"))
            continue
        try:
            outcomes.append(outcome(name, skipped=check(m, bench)))
        except Failed as failed:
            outcomes.append(outcome(name, failure=str(failed)))
        except Exception as raised:
            outcomes.append(outcome(name, failure=f"{type(raised).__name__}: {raised}"))
            error = error or raised
            scored = name != CHECKS[0]
    return outcomes, error
