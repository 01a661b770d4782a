"""The page: parts put into the template, and the template into a file."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from wherefrom.atomic import write_text
from wherefrom.report._card import groups as card_groups
from wherefrom.report._chart import chart
from wherefrom.report._classes import Classes
from wherefrom.report._data import ReportData
from wherefrom.report._downloads import downloads
from wherefrom.report._figures import Figures
from wherefrom.report._groups import Groups
from wherefrom.report._heatmap import frame
from wherefrom.report._leaderboard import board_sheet, columns, leaderboards
from wherefrom.report._maps import map_groups
from wherefrom.report._names import short
from wherefrom.report._numbers import seconds
from wherefrom.report._plain import leading, plain
from wherefrom.report._png import FULL, legend
from wherefrom.report._retraining_section import retraining_section
from wherefrom.report._samples import Samples
from wherefrom.report._shown import Shown
from wherefrom.report._summary import facts, findings, no_leaderboard
from wherefrom.report._trust_section import trust_section
from wherefrom.report._trust_sheets import answer_sheet, check_sheet
from wherefrom.safetext import printable
from wherefrom.scores import SIGN

# No single text of a run is worth more than this on a page made to be read.
LONGEST = 2000


def write_report(data: ReportData, path: Path) -> None:
    """Writes one HTML file that needs nothing but itself.

    The file is replaced whole or not at all.

    Args:
        data: what the report says.
        path: the file to write.
    """
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The report as HTML text.

    Every text goes through `printable` and is escaped; the page's content security policy refuses
    every script and style but its own two.
    """
    environment = _environment()
    style = _own(environment, "report.css")
    script = _own(environment, "report.js.jinja")
    figures = Figures.of(data)
    classes = Classes.of(data)
    shown = Shown.of(data, figures)
    first = leading(data, shown)
    samples = Samples(data, shown)
    groups = Groups(data, shown.full, samples.groups)
    template = environment.get_template("report.html.jinja")
    return template.render(
        title=short(data.title, 160),
        about=data.about,
        sign=SIGN,
        style=style,
        script=script,
        policy=_policy(style, script),
        plain=plain(data, figures, shown),
        facts=facts(data, figures, classes.labelled),
        findings=findings(data, figures),
        trust=trust_section(data.trust, data.queries),
        boards=leaderboards(data, figures),
        columns=columns(figures),
        chart=chart(data, figures),
        no_leaderboard="" if figures.all else no_leaderboard(data),
        retraining=retraining_section(data, figures),
        frame=frame(classes),
        legend=legend(),
        full=f"{FULL:g}",
        maps=map_groups(data, classes, shown.order),
        samples=samples.pages(),
        size_of_removals=samples.size_of_removals(),
        no_tokens=data.no_tokens,
        tokens_of=[samples.names[key] for key in data.tokens if key in samples.names],
        groups=groups.views(),
        sums_of=[groups.of_query(first, position) for position in shown.positions],
        files={
            "leaderboard": downloads(board_sheet(data, figures)),
            "checks": downloads(check_sheet(data.trust)),
            "answers": downloads(answer_sheet(data.trust)),
            "rows": downloads(samples.sheet()),
            "groups": downloads(groups.sheet()),
        },
        labelled=classes.labelled > 0,
        timings=[(short(name), seconds(taken)) for name, taken in data.timings.items()],
        total=seconds(sum(data.timings.values())),
        card=card_groups(data.card),
        notes=[note for note in data.notes if note.strip()],
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("wherefrom.report", ""),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: Any) -> Any:
    # Markup is our own: macros that were escaped inside, our style, our script, our images.
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value, LONGEST)
    return value


def _own(environment: Environment, name: str) -> Markup:
    return Markup(environment.get_template(name).render())  # noqa: S704


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
