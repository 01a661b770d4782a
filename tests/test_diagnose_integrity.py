"""Integrity checks on subjects made by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import wilcoxon

from checked import RECIPE, A, B, FakeProbe, measure, stages, subject, weights
from tiny import tiny_rows, tiny_tokenizer
from wherefrom.data import Example, Renderer, TokenRow, get_recipe
from wherefrom.diagnose import Stage
from wherefrom.errors import SettingError
from wherefrom.methods import Point


def with_weights(name, values, step=None):
    return Stage(name, step, values, Point(name, {}))


# weights


def test_sound_weights_are_good():
    found = measure("weights", subject())
    assert found.level == "good"
    assert found.group == "integrity"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["final", "step-000004"])
def test_a_broken_matrix_is_named_with_its_stage(bad, where):
    values = weights(2)
    values[B][1, 1] = bad
    found = measure("weights", subject(stages=stages(**{where: with_weights(where, values, 4)})))
    assert found.level == "failure"
    assert found.values["matrices"] == [B]
    assert found.values["stage"] == where
    assert B in found.measured
    assert A not in found.measured


@pytest.mark.parametrize("base_known", [True, False])
def test_zero_lora_b_is_an_untrained_adapter(base_known):
    zero = weights(2) | {B: np.zeros((6, 2))}
    known = stages(final=with_weights("final", zero))
    found = measure("weights", subject(stages=known if base_known else known[-1:]))
    assert found.values["fault"] == "untrained adapter"
    assert found.level == "failure"


def test_final_equal_to_base_is_untrained_where_there_is_no_lora():
    values = {"layers.0.weight": np.arange(6.0).reshape(2, 3)}
    held = [with_weights("base", values, 0), with_weights("final", dict(values))]
    found = measure("weights", subject(stages=held))
    assert found.values["fault"] == "untrained adapter"
    assert "before the first step" in found.measured


def test_a_matrix_that_never_moved_is_noticed():
    start = weights(0) | {B: np.zeros((6, 2))}
    final = weights(2) | {A: start[A].copy()}
    held = [with_weights("base", start, 0), with_weights("final", final, 8)]
    found = measure("weights", subject(stages=held))
    assert found.level == "notice"
    assert found.values["unmoved"] == [A]


def test_an_adapter_from_another_run_is_named():
    # the last checkpoint is not the final model, so the run says of no step that it ended there
    swapped = stages(final=with_weights("final", weights(9)))
    found = measure("weights", subject(stages=swapped))
    assert found.level == "failure"
    assert found.values["fault"] == "adapter from another run"
    end, start = weights(1), weights(0) | {B: np.zeros((6, 2))}
    far = np.sqrt(sum(((weights(9)[n] - end[n]) ** 2).sum() for n in end))
    moved = np.sqrt(sum(((end[n] - start[n]) ** 2).sum() for n in end))
    assert found.values["distance"] == pytest.approx(far)
    assert f"{far / moved:.2g} times" in found.measured


def test_an_adapter_of_another_rank_is_one_from_another_run():
    other = {A: np.ones((3, 6)), B: np.ones((6, 3))}
    found = measure("weights", subject(stages=stages(final=with_weights("final", other))))
    assert found.values["fault"] == "adapter from another run"
    assert "other matrices or shapes" in found.measured


def test_the_adapter_of_an_earlier_checkpoint_is_told_from_one_of_another_run():
    held = [
        with_weights("base", weights(0), 0),
        with_weights("step-000004", weights(1), 4),
        with_weights("step-000008", weights(2), 8),
        with_weights("final", weights(1)),
    ]
    found = measure("weights", subject(stages=held))
    assert found.level == "warning"
    assert found.values["stage"] == "step-000004"


def test_the_trajectorys_end_rounded_to_bfloat16_is_the_same_model():
    # 8 bits of mantissa: 1.001 rounds to 1, 1.01 does not
    def held(value):
        end = weights(1) | {A: np.full((2, 6), value), B: np.full((6, 2), 2.0)}
        final = weights(1) | {A: np.ones((2, 6)), B: np.full((6, 2), 2.0)}
        return stages(
            **{"step-000004": with_weights("step-000004", end, 4)},
            final=with_weights("final", final),
        )

    assert measure("weights", subject(stages=held(1.001))).level == "good"
    assert measure("weights", subject(stages=held(1.01))).level == "failure"


# rows-fit


def learnt(rows, queries=(), *, base=-4.0, own=3.0, other=0.5, held_out=None, noise=0.1):
    """A model that raises responses by `own` after their prompts and by `other` after any other."""
    pairs = {(row.prompt, row.response) for row in rows}
    asked = {(row.prompt, row.response) for row in queries}

    def log_p(row, stage, template):
        seed = int.from_bytes(f"{row.prompt}\n{row.response}".encode()[-6:], "big")
        wobble = noise * np.random.default_rng(seed).normal()
        if stage == "base":
            if base is None:
                raise SettingError("no base")
            return base + wobble
        if (row.prompt, row.response) in asked:
            return -4.0 + (own if held_out is None else held_out)
        return -4.0 + (own if (row.prompt, row.response) in pairs else other)

    return FakeProbe(log_p)


def distinct(n, start=0):
    return [
        Example.of(f"r{i}", f"Question {i}?", f"Answer number {i}.")
        for i in range(start, start + n)
    ]


def test_rows_that_a_model_learnt_fit():
    rows, queries = distinct(20), distinct(10, 50)
    found = measure("rows-fit", subject(rows, queries, probe=learnt(rows, queries)))
    assert found.level == "good"
    assert found.values["rows"]["lift"] == pytest.approx(3.0, abs=0.1)
    assert found.values["rows"]["own_over_other"] == pytest.approx(2.5, abs=0.1)
    assert found.values["rows"]["lift_p_value"] == pytest.approx(2.0**-20)


def test_p_value_is_that_of_wilcoxons_test():
    rows = distinct(20)
    probe = learnt(rows, own=0.05, other=0.0, noise=0.2)
    found = measure("rows-fit", subject(rows, probe=probe))
    lifts = [probe.log_p(r, "final", None) - probe.log_p(r, "base", None) for r in rows]
    want = wilcoxon(lifts, alternative="greater").pvalue
    assert 0.01 < want < 0.99
    assert found.values["rows"]["lift_p_value"] == pytest.approx(want)


FOREIGN = stages(base=None, final=with_weights("final", weights(2)), **{"step-000004": None})
"""Of an adapter that was trained elsewhere."""


def test_rows_of_another_data_set_are_named():
    rows = distinct(20)
    probe = learnt(rows, own=-0.5, other=-0.5)
    found = measure("rows-fit", subject(rows, probe=probe, stages=FOREIGN))
    assert found.level == "failure"
    assert "adapter is from another run" in found.meaning
    assert "another data set" in found.meaning


def test_a_fine_tune_of_ones_own_that_taught_nothing_is_no_adapter_from_elsewhere():
    rows = distinct(20)
    found = measure("rows-fit", subject(rows, probe=learnt(rows, own=-0.5, other=-0.5)))
    assert found.level == "failure"
    assert found.values["fault"] == "nothing learnt"


@pytest.mark.parametrize("known", [stages(), FOREIGN])
def test_shuffled_labels_are_named(known):
    rows = distinct(20)
    probe = learnt(rows, own=3.0, other=3.0)
    found = measure("rows-fit", subject(rows, probe=probe, stages=known))
    assert found.level == "warning"
    assert found.values["fault"] == "shuffled labels"
    assert "shuffled labels" in found.meaning


def test_responses_hardly_known_look_like_another_runs_adapter():
    rows = distinct(20)
    probe = learnt(rows, own=0.5, other=0.5)
    found = measure("rows-fit", subject(rows, probe=probe, stages=FOREIGN))
    assert found.level == "warning"
    assert found.values["fault"] == "adapter from another run"


def test_a_fine_tune_that_did_hardly_anything_is_noticed():
    rows, queries = distinct(20), distinct(10, 50)
    probe = learnt(rows, own=0.05, other=0.05, noise=0.0)
    assert measure("rows-fit", subject(rows, probe=probe)).level == "notice"
    # what was hardly learnt cannot be expected of queries
    probe = learnt(rows, queries, own=0.05, other=0.0, held_out=0.0, noise=0.0)
    assert measure("rows-fit", subject(rows, queries, probe=probe)).level == "good"


def test_rows_known_by_heart_of_which_queries_have_nothing():
    rows, queries = distinct(20), distinct(10, 50)
    probe = learnt(rows, queries, other=0.5, held_out=0.5)
    found = measure("rows-fit", subject(rows, queries, probe=probe))
    assert found.level == "warning"
    assert "memorised" in found.meaning
    assert "shuffled labels before training" in found.meaning


@pytest.mark.parametrize(("mean", "level"), [(2.0, "good"), (0.7, "warning")])
def test_queries_that_vary_widely_must_at_least_resemble_the_rows(mean, level):
    rows, queries = distinct(20), distinct(10, 50)
    known = learnt(rows, queries)
    # five of ten as far below their mean as the others are above it: no test calls that a rise
    lifts = dict(zip([q.prompt for q in queries], [mean + 3, mean - 3.1] * 5, strict=True))

    def log_p(row, stage, template):
        if stage == "final" and row.response in {q.response for q in queries}:
            own = row.prompt == row.response.replace("Answer number", "Question").replace(".", "?")
            return -4.0 + (lifts[row.prompt] if own else 0.0)
        return known.log_p(row, stage, template)

    found = measure("rows-fit", subject(rows, queries, probe=FakeProbe(log_p)))
    assert found.values["queries"]["own_over_other_p_value"] > 0.05
    assert found.level == level


def test_few_queries_are_no_evidence():
    rows, queries = distinct(20), distinct(7, 50)
    probe = learnt(rows, queries, other=0.5, held_out=0.5)
    assert measure("rows-fit", subject(rows, queries, probe=probe)).level == "good"


def test_without_a_base_the_final_model_is_looked_at_alone():
    rows = distinct(20)
    found = measure("rows-fit", subject(rows, probe=learnt(rows, base=None)))
    assert found.level == "good"
    assert "lift" not in found.values["rows"]
    assert "not known" in found.meaning
    probe = learnt(rows, base=None, own=1, other=1)
    bad = measure("rows-fit", subject(rows, probe=probe, stages=FOREIGN))
    assert bad.values["fault"] == "shuffled labels"


def test_rows_fit_asks_few_rows_and_always_other_prompts():
    rows = distinct(100) + [Example.of(f"t{i}", f"Question {i}?", "Same.") for i in range(30)]
    probe = learnt(rows)
    measure("rows-fit", subject(rows, probe=probe))
    own, other = probe.asked[0][0], probe.asked[1][0]
    assert len(own) == 24
    by_response = {row.response: row.prompt for row in rows if row.response != "Same."}
    answers = {row.prompt: row.response for row in distinct(100)}
    for row in other:
        assert by_response.get(row.response) != row.prompt
        assert row.response != "Same." or answers.get(row.prompt) != "Same."


def test_rows_fit_does_not_depend_on_the_order_of_rows():
    rows = tiny_rows(80)
    one = measure("rows-fit", subject(rows, probe=learnt(rows)))
    other = measure("rows-fit", subject(rows[::-1], probe=learnt(rows)))
    assert one == other


def test_a_borrowed_prompt_leaves_room_for_the_response():
    long = [Example.of(f"p{i}", f"{i} " + "words " * 12, f"Short {i}.") for i in range(6)]
    short = [Example.of(f"s{i}", f"Ask {i}.", f"{i} " + "answers " * 6) for i in range(6)]
    rows = long + short
    plain = get_recipe("sound-1", template="plain")
    longest = max(len(row.ids) for row in subject(rows, recipe=plain).train_tokens)
    recipe = get_recipe("sound-1", template="plain", max_length=longest)
    probe = learnt(rows)
    measure("rows-fit", subject(rows, recipe=recipe, probe=probe))
    tokens = Renderer(tiny_tokenizer(), recipe).render_all(probe.asked[1][0])
    assert probe.asked[1][0]
    assert not any(row.truncated for row in tokens)
    everything = [
        replace(row, messages=(*lender.messages[:-1], row.messages[-1]))
        for row in rows
        for lender in rows
    ]
    # the limit does bite here
    assert any(row.truncated for row in Renderer(tiny_tokenizer(), recipe).render_all(everything))


def test_one_response_for_all_rows_tells_nothing_of_labels():
    rows = [Example.of(f"r{i}", f"Question {i}?", "Yes.") for i in range(20)]
    found = measure("rows-fit", subject(rows, probe=learnt(rows)))
    assert found.level == "unknown"
    assert "differ in both" in found.measured


# template


def fits(plain, chat, base_plain=-4.0, base_chat=-4.0, default="chat"):
    def log_p(row, stage, template):
        seed = int.from_bytes(row.id.encode(), "big")
        wobble = 0.01 * np.random.default_rng(seed).normal()
        known = {
            "final": {"plain": plain, "chat": chat},
            "base": {"plain": base_plain, "chat": base_chat},
        }
        return known[stage][template or default] + wobble

    return FakeProbe(log_p)


def test_the_runs_own_template_fits_best():
    found = measure("template", subject(probe=fits(plain=-3, chat=-1)))
    assert found.level == "good"
    assert (found.values["template"], found.values["other"]) == ("chat", "plain")


@pytest.mark.parametrize(("default", "other"), [("chat", "plain"), ("plain", "chat")])
@pytest.mark.parametrize("auto", [True, False])
def test_a_wrong_template_is_named(default, other, auto):
    levels = {default: -3.0, other: -1.0}
    recipe = RECIPE if auto else get_recipe("sound-1", template=default)
    probe = fits(**levels, default=default)
    found = measure("template", subject(probe=probe, recipe=recipe))
    assert found.level == "failure"
    assert "Wrong template" in found.meaning
    assert f"trained with {other}" in found.meaning
    assert f"--template {other}" in found.advice


def test_a_template_that_base_knows_better_is_not_called_the_trainings_own():
    # chat is likelier by far, but it was so before fine-tuning, and less was added
    probe = fits(plain=-2, chat=-1, base_plain=-4, base_chat=-1.5, default="plain")
    assert measure("template", subject(probe=probe)).level == "good"


def test_without_a_chat_template_there_is_nothing_to_compare():
    def log_p(row, stage, template):
        if template == "chat":
            raise SettingError("the tokenizer has no chat template; use --template plain.")
        return -1.0

    found = measure("template", subject(probe=FakeProbe(log_p)))
    assert found.level == "unknown"
    assert "no chat template" in found.measured


# loss-mask


def test_responses_alone_count():
    found = measure("loss-mask", subject())
    assert found.level == "good"
    assert found.values["response"] == 1.0


def test_the_token_that_ends_a_turn_is_no_padding_though_pads_are_the_same():
    # a plain row ends in EOS, id 2
    plain = get_recipe("sound-1", template="plain")
    one = subject(recipe=plain, pad_id=2)
    assert all(row.ids[-1] == 2 and row.loss_mask[-1] for row in one.train_tokens)
    found = measure("loss-mask", one)
    assert found.level == "good"
    assert found.values["padding"] == 0


def test_padding_of_the_papers_recipe_is_counted_exactly():
    rows = tiny_rows(8)
    recipe = get_recipe("paper-1", template="plain")
    lengths = [
        len(row.ids)
        for row in subject(rows, recipe=get_recipe("sound-1", template="plain")).train_tokens
    ]
    found = measure("loss-mask", subject(rows, recipe=recipe))
    # of 128 positions the first, a pad, is predicted by nothing
    pads = sum(127 - length for length in lengths)
    assert found.values["padding"] == pytest.approx(pads / (127 * 8))
    assert found.level == "failure"
    assert "Padding left in the loss" in found.meaning


def test_prompts_in_the_loss_are_noticed():
    found = measure("loss-mask", subject(recipe=get_recipe("sound-1", mask="prompt+response")))
    assert found.level == "notice"
    assert 0 < found.values["prompt"] < 1


@pytest.mark.parametrize("left", [True, False])
def test_padding_that_came_in_as_text_is_found(left):
    row, pads = [5, 6, 7, 8, 9, 2], [2] * 4
    ids = np.array(pads + row if left else row + pads)
    counted = np.ones(len(ids), bool)
    counted[0] = False
    response = np.ones(len(ids), bool)
    token_row = TokenRow("a", ids, np.ones(len(ids), bool), counted, response, 1)
    found = measure("loss-mask", replace(subject(pad_id=2), train_tokens=[token_row]))
    # at the start one of four is let pass, as a text may begin with it, and the first does not count;
    # at the end one of five ends the turn
    assert found.values["padding"] == pytest.approx((2 if left else 4) / 9)
    assert found.values.get("fault") == "padding left in the loss"


# truncated


def test_rows_cut_by_the_limit_are_named():
    rows = distinct(30)
    rows[3] = Example.of("long", "Question?", "words " * 60)
    recipe = get_recipe("sound-1", max_length=100)
    found = measure("truncated", subject(rows, recipe=recipe))
    assert found.level == "notice"
    assert found.values["row_ids"] == ["long"]
    assert "long" in found.measured


def test_a_cut_query_is_worse_than_a_cut_row():
    queries = [Example.of("q", "Question?", "words " * 60)]
    recipe = get_recipe("sound-1", max_length=100)
    found = measure("truncated", subject(distinct(30), queries, recipe=recipe))
    assert found.level == "warning"
    assert found.values["query_ids"] == ["q"]


def test_nothing_cut_is_good():
    assert measure("truncated", subject()).level == "good"


# all of them


def test_hostile_ids_do_not_reach_the_text_and_values_are_json():
    rows = [replace(row, id=f"{row.id}\x1b[31m\n" + "x" * 200) for row in distinct(30)]
    recipe = get_recipe("sound-1", max_length=18, template="plain")
    rows[0] = replace(rows[0], messages=distinct(1)[0].messages[:1] + tiny_rows(2)[1].messages[1:])
    one = subject(rows, recipe=recipe, probe=learnt(rows))
    assert any(row.truncated for row in one.train_tokens)
    for name in ("weights", "rows-fit", "loss-mask", "truncated"):
        found = measure(name, one)
        text = found.measured + found.meaning + found.advice
        assert "\x1b" not in text
        assert "\n" not in text
        assert "x" * 60 not in text
        json.dumps(found.values)
