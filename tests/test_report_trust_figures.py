"""The report's figures of the three mechanisms, drawn from what checks measured."""

import math
import re

import pytest

import trusted
from test_report import HOSTILE, Page, made
from wherefrom.report import render_report
from wherefrom.report._lines import Axis, Measured, lines
from wherefrom.report._scale import Scale

NAN = math.nan
STATES = {"stages": ["base", "step-000010", "final"], "steps": [0, 10, 20]}
ENERGY = {
    "curve": {
        "multiple of λ": [0.1, 1.0, 10.0],
        "dimension per row": [0.9, 0.5, 0.1],
        "query energy": [0.8, 0.4, 0.0],
    }
}
AGREEMENT = {
    "curve": {
        "multiple of λ": [0.1, 1.0, 10.0],
        "spearman": [0.2, 0.6, 1.0],
        "spearman, blocks weighted": [0.4, 0.8, 1.0],
    }
}
CONVERGENCE = STATES | {
    "k": 10,
    "method": "influence",
    # a file has them by name
    "methods": {
        "gradient_dot": {"accuracy": [0.0] * 3, "spearman": [0.0] * 3, "overlap": [0.0] * 3},
        "influence": {
            "accuracy": [0.2, 0.4, 0.8],
            "spearman": [-0.2, 0.5, 1.0],
            "overlap": [0.1, 0.5, 1.0],
        },
    },
    "gradient_norm": [3.0, 1.0, 0.5],
    "degrees_to_previous": [None, None, 30.0],
}
BEHAVIOUR = STATES | {
    "norm": [0.0, 1.0, 1.6],
    "kl": [0.0, 0.1, 0.4],
    "log_probability": [-3.0, -2.0, -0.5],
    "behaviour": [0.0, 0.0, 1.0],
}
MEASURED = {
    "curvature-energy": ("curvature", ENERGY),
    "curvature-agreement": ("curvature", AGREEMENT),
    "convergence": ("convergence", CONVERGENCE),
    "behaviour": ("behaviour", BEHAVIOUR),
}


def page(**values):
    """A report with the four checks, some with other values."""
    findings = [
        trusted.finding(name, group=group, values=values.get(name.replace("-", "_"), known))
        for name, (group, known) in MEASURED.items()
    ]
    return render_report(made(trust=trusted.trust(findings=findings, traces=[])))


def figures(html):
    """Drawings of the section by the first words of their alternative text."""
    drawn = re.findall(
        r'<svg class="dots" role="img" aria-label="Line chart\. .*?</svg>', html, re.S
    )
    return {re.search(r"Line chart\. (\w+ \w+)", svg)[1]: svg for svg in drawn}


def points(svg):
    """What each point tells, by the place where it is drawn."""
    return re.findall(r"<g><title>(.*?)</title>", svg)


@pytest.fixture(scope="module")
def html():
    return page()


def test_each_mechanism_has_its_figure_in_its_group(html):
    assert list(figures(html)) == ["What damping", "Flat at", "At a", "Does what"]
    for name, count in (("Mechanism 1", 1), ("Mechanism 2", 2), ("Mechanism 3", 1)):
        parts = re.findall(r'<section class="checks"[^>]*>.*?</section>', html, re.S)
        group = next(part for part in parts if f"<h4>{name}" in part)
        assert group.count("<figure") == count


def test_curvature_has_both_checks_over_one_axis(html):
    svg = figures(html)["What damping"]
    assert svg.count('class="curve') == 4
    assert "d_λ / n at 10 λ: 0.1" in points(svg)
    assert "Spearman, without the Hessian at 0.1 λ: 0.2" in points(svg)
    assert "Spearman, λ in its place at 1 λ: 0.8" in points(svg)
    assert re.findall(r">([\d.]+ λ)<", svg) == ["0.1 λ", "1 λ", "10 λ"]


def test_decades_of_damping_lie_equally_far_apart(html):
    path = re.search(r'class="curve s0" d="M(.*?)"', figures(html)["What damping"])[1]
    (x0, y0), (x1, y1), (x2, y2) = (map(float, at.split()) for at in path.split("L"))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y0 < y2


def test_convergence_is_of_the_method_that_is_checked(html):
    svg = figures(html)["Flat at"]
    assert "top rows in common at 10: 0.5" in points(svg)
    assert "Spearman at 0: −0.2" in points(svg)
    assert "class match at 20: 0.8" in points(svg)
    assert svg.count('class="curve') == 3
    assert "the answers of influence at each state" in Page.of(html).words


def test_the_alternative_text_has_both_ends_of_every_line(html):
    alt = re.search(r'aria-label="(.*?)"', figures(html)["Flat at"])[1]
    assert "Along: optimizer steps." in alt
    assert "Spearman from −0.2 at 0 to 1 at 20" in alt


def test_the_gradient_is_drawn_where_it_is_known(html):
    svg = figures(html)["At a"]
    assert points(svg) == ["norm at 0: 3", "norm at 10: 1", "norm at 20: 0.5", "turn at 20: 30"]


def test_behaviour_and_movement_share_an_axis_and_not_a_unit(html):
    svg = figures(html)["Does what"]
    assert svg.count('class="curve') == 4
    starts = [float(x) for x in re.findall(r'class="curve s\d" d="M([\d.]+) ', svg)]
    assert len(set(starts)) == 1
    heights = [float(y) for y in re.findall(r'class="curve s\d" d="M[\d.]+ ([\d.]+)', svg)]
    assert heights == sorted(heights)
    assert "log-probability at 0: −3" in points(svg)


def test_a_line_is_broken_where_a_value_is_unknown():
    values = BEHAVIOUR | {"kl": [0.0, None, 0.4], "behaviour": [None] * 3}
    svg = figures(page(behaviour=values))["Does what"]
    (path,) = re.findall(r'class="curve s1" d="(.*?)"', svg)
    assert path.count("M") == 2
    assert "L" not in path
    assert "taught behaviour" not in svg


def test_without_steps_the_states_are_one_by_one():
    svg = figures(page(behaviour=BEHAVIOUR | {"steps": [0, 10, None]}))["Does what"]
    assert "‖ΔW‖ at step-000010: 1" in points(svg)
    assert "Along: states of the model." in svg
    same = figures(page(behaviour=BEHAVIOUR | {"steps": [0, 10, 10]}))["Does what"]
    assert "‖ΔW‖ at step-000010: 1" in points(same)


def test_one_curvature_check_alone_is_drawn():
    assert figures(page(curvature_agreement={}))["What damping"].count('class="curve') == 2
    assert figures(page(curvature_energy={}))["What damping"].count('class="curve') == 2
    other = {"curve": AGREEMENT["curve"] | {"multiple of λ": [1.0, 2.0, 3.0]}}
    assert figures(page(curvature_agreement=other))["What damping"].count('class="curve') == 2


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"curve": None},
        {"curve": {"multiple of λ": [1.0, -1.0], "dimension per row": [1.0, 2.0]}},
        {"curve": {"multiple of λ": [1.0, None], "dimension per row": [1.0, 2.0]}},
        {"curve": {"multiple of λ": "ten"}, "methods": [1, 2], "steps": 3, "stages": "abc"},
        STATES,
        STATES | {"norm": [1.0], "gradient_norm": "none", "methods": {"influence": 3}},
        STATES | {"norm": [None] * 3, "methods": {"influence": {"overlap": [True] * 3}}},
        {"steps": [0], "stages": ["final"], "norm": [1.0], "gradient_norm": [1.0]},
    ],
)
def test_values_that_do_not_fit_draw_nothing(values):
    drawn = page(**dict.fromkeys((name.replace("-", "_") for name in MEASURED), values))
    assert not figures(drawn)
    assert "Mechanism 3: behaviour" in drawn


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_of_states_and_methods_stay_text(text):
    calm, hostile = (
        page(
            behaviour=BEHAVIOUR | {"steps": None, "stages": [end, "b", "c"]},
            convergence=CONVERGENCE
            | {
                "method": f"influence{end}",
                "methods": {f"influence{end}": CONVERGENCE["methods"]["influence"]},
            },
        )
        for end in ("", text)
    )

    def skeleton(html):
        # how many names fit beneath an axis depends on how long they are
        return Page.of(re.sub(r'<text class="tick".*?</text>', "", html)).skeleton

    assert skeleton(hostile) == skeleton(calm)


def test_names_beneath_the_axis_do_not_run_into_each_other():
    names = tuple(f"state {i:04}" for i in range(100))
    axis = Axis("states", tuple(map(float, range(100))), names)
    drawn = lines("Title.", "", axis, [Measured("unit", (axis.series("one", range(100)),))])
    assert drawn.ticks[-1][1] == "state 0099"
    gaps = [b[0] - a[0] for a, b in zip(drawn.ticks, drawn.ticks[1:], strict=False)]
    assert min(gaps) > 6.4 * len("state 0000")
    assert 5 < len(drawn.ticks) < 12


def test_a_scale_is_as_narrow_as_its_values():
    scale = Scale.close([1e-9, 3e-9], 0.0, 100.0)
    assert scale.place(3e-9) - scale.place(1e-9) > 90
    assert scale.ticks() == tuple(sorted(set(scale.ticks())))
    assert Scale.close([2.0, 2.0], 0.0, 100.0).place(2.0) == 50.0
    assert Scale.close([NAN], 0.0, 100.0).place(0.0) == 50.0
