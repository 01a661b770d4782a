"""What `wherefrom trace` was asked, and who answers it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherefrom.cli._options import Format
from wherefrom.cli._print_answer import print_answers, write_answers
from wherefrom.cli._trace import TraceFormat
from wherefrom.cli._trace_many import trace_many
from wherefrom.data import Example, read_examples
from wherefrom.errors import SettingError
from wherefrom.methods import Method, select_methods, split_specs
from wherefrom.run import PREFERRED, Run, index_for, open_target


@dataclass(frozen=True)
class Asked:
    """The options of the verb, as they were given."""

    target: Path
    prompt: str | None
    response: str | None
    queries: str | None
    bad: str | None
    good: str | None
    data: str | None
    makes: dict[str, Any]
    methods: str | None
    budget: str | None
    top: int
    by: str | None
    tokens: bool
    compare: Path | None
    sign: str
    out: Path | None
    folder: Path | None
    verify: bool
    form: TraceFormat | None


def trace_asked(asked: Asked) -> None:
    """Answers what was asked.

    Raises:
        SettingError: options that do not go together.
    """
    given = [asked.prompt is not None, asked.queries is not None, asked.bad is not None]
    if sum(given) != 1:
        raise SettingError("give one of --prompt, --queries and --bad.")
    if asked.good is not None and asked.bad is None:
        raise SettingError("--good is held against --bad; give that too.")
    if asked.response is not None and asked.prompt is None:
        raise SettingError("--response belongs to --prompt.")
    form = _form(asked)
    if form is TraceFormat.parquet:
        if asked.bad is not None or asked.compare is not None:
            raise SettingError("--format parquet is for answers to --prompt and --queries.")
        if asked.out is None:
            raise SettingError("--format parquet writes a file; give --out answers.parquet.")
    run = open_target(asked.target, asked.data, asked.makes, asked.folder)
    run.finetune()
    run, specs = _indexed(run, asked)
    if asked.bad is not None:
        from wherefrom.cli._trace_guilty import trace_guilty

        good = _rows(run, asked.good) if asked.good is not None else []
        trace_guilty(
            run, _rows(run, asked.bad), good, specs, asked.top, asked.out, Format(form.value)
        )
        return
    if asked.queries is not None and asked.out is not None and not asked.out.suffix:
        trace_many(run, _rows(run, asked.queries), specs, asked.top, asked.out)
        return
    if asked.queries is not None:
        answers = run.trace_all(_rows(run, asked.queries), specs, verify=asked.verify)
    else:
        answers = [run.trace(str(asked.prompt), asked.response, specs, verify=asked.verify)]
    if asked.compare is not None:
        from wherefrom.cli._trace_compare import trace_compare

        trace_compare(
            run, answers, asked.compare, asked.sign, asked.top, asked.out, Format(form.value)
        )
        return
    evidence = [run.tokens(one, k=asked.top) for one in answers] if asked.tokens else None
    if asked.out is not None:
        write_answers(answers, evidence, asked.by, asked.top, asked.out, form)
        return
    print_answers(answers, evidence, asked.by, asked.top, Format(form.value))


def _form(asked: Asked) -> TraceFormat:
    if asked.form is not None:
        return asked.form
    ending = asked.out.suffix.lower().lstrip(".") if asked.out is not None else ""
    if not ending:
        return TraceFormat.table
    if ending not in {form.value for form in TraceFormat if form is not TraceFormat.table}:
        raise SettingError(f"{asked.out}: answers are written as .json, .csv, .parquet or .md.")
    return TraceFormat(ending)


def _indexed(run: Run, asked: Asked) -> tuple[Run, list[str]]:
    """The run, indexed for the methods that are asked for; and these."""
    if asked.methods is None:
        specs = [run.leading] if asked.budget is None else list(PREFERRED)
    else:
        specs = split_specs(asked.methods)
    # all stands for what the run was indexed for, so nothing is missing
    named: list[Method] = (
        select_methods([s for s in specs if s != "all"]) if specs != ["all"] else []
    )
    run = index_for(run, named, asked.budget)
    left = run.card.entries.get("left out", {}) if asked.budget is not None else {}
    kept = [spec for spec in specs if spec not in left]
    if not kept:
        raise SettingError(
            f"{run.path}: no method fits {asked.budget}. Give more, or --methods bm25."
        )
    return run, kept


def _rows(run: Run, path: str) -> list[Example]:
    return read_examples(path, run.config.shape)
