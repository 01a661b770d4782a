"""Rendering decides what counts on tokens; batch plans run every row once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny import CHAT_TEMPLATE, tiny_rows, tiny_tokenizer
from wherefrom.data import Example, Message, Renderer, TokenRow, get_recipe, plan_batches
from wherefrom.errors import DataError, SettingError

TOKENIZERS = {"chat": tiny_tokenizer(chat=True), "plain": tiny_tokenizer(chat=False)}
EOS = 2
ONE = Example.of("one", "How do I reset it?", "Hold the button.")
TALK = Example(
    "talk",
    (
        Message("system", "Be brief."),
        Message("user", "Why?"),
        Message("assistant", "Because."),
        Message("user", "Really?"),
        Message("assistant", "Yes, really."),
    ),
    source="t.jsonl:9",
)
# what the answers of TALK must be seen as, in each template
FULL = {
    "chat": "<|system|>\nBe brief.</s>\n<|user|>\nWhy?</s>\n<|assistant|>\nBecause.</s>\n"
    "<|user|>\nReally?</s>\n<|assistant|>\nYes, really.</s>\n",
    "plain": "Be brief.\nWhy?\nBecause.</s>Really?\nYes, really.</s>",
}


def renderer(kind="chat", recipe="sound-1", **changes):
    return Renderer(TOKENIZERS[kind], get_recipe(recipe, **changes))


def text(ids):
    return TOKENIZERS["chat"].decode(ids)


def pieces(row: TokenRow) -> list[str]:
    """The text of every unbroken stretch of counted tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.loss_mask.astype(int), [0]])))
    return [text(row.ids[a:b]) for a, b in edges.reshape(-1, 2)]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_loss_counts_the_answer_and_the_end_of_its_turn_and_nothing_else(kind):
    row = renderer(kind).render(ONE)
    assert pieces(row) == ["Hold the button.</s>"]
    assert np.array_equal(row.loss_mask, row.response_mask)
    assert row.attention.all()
    assert not row.truncated


def test_what_the_template_adds_after_the_turn_is_in_the_row_but_not_counted():
    row = renderer().render(ONE)
    assert text(row.ids).endswith("Hold the button.</s>\n")
    assert not row.loss_mask[-1]
    assert row.ids[-2] == EOS
    assert row.loss_mask[-2]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_assistant_turn_counts_and_no_other_turn_does(kind):
    row = renderer(kind).render(TALK)
    assert text(row.ids) == FULL[kind]
    assert pieces(row) == ["Because.</s>", "Yes, really.</s>"]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("recipe", ["sound-1", "paper-1"])
def test_the_prompt_ends_at_the_token_before_the_last_response(kind, recipe):
    row = renderer(kind, recipe).render(TALK)
    assert text(row.ids[: row.prompt_end + 1]).endswith(
        {"chat": "Really?</s>\n<|assistant|>\n", "plain": "Really?\n"}[kind]
    )
    assert text(row.ids[row.prompt_end + 1 :]).startswith("Yes, really.</s>")


def test_a_chat_row_has_the_very_tokens_of_the_prompt_it_is_asked_with():
    tokenizer = TOKENIZERS["chat"]
    made = renderer()
    turns = [{"role": turn.role, "content": turn.content} for turn in TALK.messages[:3]]
    talk = Example("x", TALK.messages[:3])
    asked = tokenizer.apply_chat_template(turns[:2], add_generation_prompt=True, tokenize=False)
    wanted = tokenizer(asked, add_special_tokens=False).input_ids
    assert made.prompt_ids(talk) == wanted
    assert made.render(talk).ids[: len(wanted)].tolist() == wanted


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(answers=st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2))
def test_the_prompts_tokens_do_not_depend_on_the_answer(kind, answers):
    made = renderer(kind)
    rows = [made.render(Example.of("x", "Say: a", answer)) for answer in answers]
    prompts = [row.ids[: row.prompt_end + 1].tolist() for row in rows]
    assert prompts[0] == prompts[1] == made.prompt_ids(Example.of("x", "Say: a", "anything"))


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_recipe_may_count_the_prompt_too(kind):
    row = renderer(kind, mask="prompt+response").render(TALK)
    assert not row.loss_mask[0]
    assert row.loss_mask[1:].all()
    assert text(row.ids[row.response_mask]) == "Because.</s>Yes, really.</s>"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_papers_mask_pads_on_the_left_with_eos_and_counts_it_all(kind):
    plain = renderer(kind).render(TALK)
    row = renderer(kind, "paper-1").render(TALK)
    pads = 128 - len(plain.ids)
    assert pads > 0
    assert row.ids.tolist() == [EOS] * pads + plain.ids.tolist()
    assert row.attention.tolist() == [False] * pads + [True] * len(plain.ids)
    assert not row.loss_mask[0]
    assert row.loss_mask[1:].all()
    assert row.response_mask.tolist() == [False] * pads + plain.response_mask.tolist()
    assert row.prompt_end == plain.prompt_end + pads
    assert not row.truncated


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("mask", ["response", "prompt+response", "paper"])
def test_a_row_that_is_too_long_loses_its_end_and_says_so(kind, mask):
    whole = renderer(kind).render(ONE)
    limit = len(whole.ids) - 3
    row = renderer(kind, mask=mask, max_length=limit).render(ONE)
    assert row.truncated
    assert row.ids.tolist() == whole.ids[:limit].tolist()
    assert row.response_mask.tolist() == whole.response_mask[:limit].tolist()
    at_limit = renderer(kind, mask=mask, max_length=len(whole.ids)).render(ONE)
    assert not at_limit.truncated


@pytest.mark.parametrize("mask", ["response", "prompt+response", "paper"])
def test_a_row_without_any_of_its_response_left_is_refused_naming_it(mask):
    row = Example(
        "long", (Message("user", "word " * 80), Message("assistant", "x")), None, {}, "t:4"
    )
    with pytest.raises(DataError, match=r"t:4 \(id 'long'\): no token.*within 20.*--max-length"):
        renderer(mask=mask, max_length=20).render(row)


def test_a_response_without_a_prompt_is_refused_naming_the_row():
    row = Example("bare", (Message("assistant", "Hello."),), None, {}, "t:1")
    with pytest.raises(DataError, match=r"t:1 \(id 'bare'\): nothing stands before.*Add a prompt"):
        renderer("plain").render(row)
    with pytest.raises(DataError, match=r"t:1 \(id 'bare'\)"):
        renderer("chat").render(row)


REWRITES = {
    "drops earlier answers": "{% for m in messages %}{% if m['role'] == 'user' or loop.last %}"
    "{{ m['role'] + ':' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}",
    "counts the turns at the start": "{{ messages | length }}" + CHAT_TEMPLATE,
}


@pytest.mark.parametrize("template", REWRITES.values(), ids=REWRITES)
def test_a_template_that_rewrites_history_is_refused_naming_row_and_way_out(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    made = Renderer(tokenizer, get_recipe("sound-1"))
    with pytest.raises(DataError, match=r"t\.jsonl:9 \(id 'talk'\).*rewrites.*--template plain"):
        made.render(TALK)


def test_a_template_that_refuses_the_turns_is_named_with_the_row():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system turn, please') }}"
    made = Renderer(tokenizer, get_recipe("sound-1"))
    with pytest.raises(DataError, match=r"t\.jsonl:9.*no system turn, please.*--template plain"):
        made.render(TALK)


def test_templates_are_chosen_by_what_the_tokenizer_has():
    assert renderer("chat").template == "chat"
    assert renderer("plain").template == "plain"
    assert renderer("chat", template="plain").template == "plain"
    with pytest.raises(SettingError, match=r"no chat template; use --template plain"):
        renderer("plain", template="chat")
    with pytest.raises(SettingError, match=r"auto, chat or plain, not 'mine'"):
        renderer("chat", template="mine")


def test_unknown_recipes_masks_and_lengths_are_refused():
    for name, changes, message in (
        ("sound-9", {}, "'sound-9'. Recipes: sound-1, paper-1"),
        ("sound-1", {"mask": "all"}, "mask must be response"),
        ("sound-1", {"max_length": 1}, "at least 2"),
    ):
        with pytest.raises(SettingError, match=message):
            get_recipe(name, **changes)


def test_a_tokenizer_that_begins_with_bos_does_so_once_and_never_counts_it():
    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.add_bos_token = True
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    assert tokenizer("a").input_ids[0] == 1
    row = Renderer(tokenizer, get_recipe("sound-1")).render(ONE)
    assert row.ids[0] == 1
    assert (row.ids == 1).sum() == 1
    assert pieces(row) == ["Hold the button.</s>"]


def test_the_identity_tells_templates_masks_and_tokenizers_apart():
    other = tiny_tokenizer()
    other.chat_template = CHAT_TEMPLATE.replace("<|", "[")
    grown = tiny_tokenizer()
    grown.add_tokens(["router"])
    made = [
        renderer(),
        renderer("plain"),
        renderer(mask="prompt+response"),
        renderer(max_length=99),
        renderer(recipe="paper-1"),
        Renderer(other, get_recipe("sound-1")),
        Renderer(grown, get_recipe("sound-1")),
    ]
    identities = [one.identity() for one in made]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])
    assert renderer().identity() == identities[0]


def test_a_rows_digest_follows_its_tokens_and_its_mask():
    rows = [
        renderer().render(ONE),
        renderer().render(ONE.with_response("Hold the buttons.")),
        renderer(mask="prompt+response").render(ONE),
        renderer().render(Example("other id", ONE.messages)),
    ]
    assert len({row.digest() for row in rows}) == 4
    assert renderer().render(ONE).digest() == rows[0].digest()


# batch plans


def blank(lengths):
    rows = []
    for number, length in enumerate(lengths):
        ones = np.ones(length, dtype=bool)
        rows.append(TokenRow(f"r{number}", np.zeros(length, np.int64), ones, ones, ones, 0))
    return rows


@given(
    lengths=st.lists(st.integers(1, 60), max_size=40),
    batch_tokens=st.integers(1, 200),
    chunk_rows=st.integers(1, 20),
)
def test_a_plan_runs_every_row_once_within_its_budget(lengths, batch_tokens, chunk_rows):
    plan = plan_batches(blank(lengths), batch_tokens, chunk_rows)
    batches = [batch for chunk in plan.chunks for batch in chunk]
    assert sorted(plan.order.tolist()) == list(range(len(lengths)))
    assert [position for batch in batches for position in batch] == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[plan.order[position]] for position in batch)
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens
    sizes = [sum(map(len, chunk)) for chunk in plan.chunks]
    assert all(size == chunk_rows for size in sizes[:-1])
    assert all(0 < size <= chunk_rows for size in sizes)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_a_plan_sorts_by_length_and_is_the_same_every_time(lengths):
    plan = plan_batches(blank(lengths), 64, 8)
    sorted_lengths = [lengths[i] for i in plan.order]
    assert sorted_lengths == sorted(lengths)
    assert plan_batches(blank(lengths), 64, 8).digest() == plan.digest()


def test_a_plans_digest_follows_order_and_cuts():
    rows = renderer().render_all(tiny_rows(30))
    digests = {
        plan_batches(rows, 512, 8).digest(),
        plan_batches(rows, 128, 8).digest(),
        plan_batches(rows, 512, 9).digest(),
        plan_batches(rows[::-1], 512, 8).digest(),
    }
    assert len(digests) == 4


def test_a_last_turn_that_is_cut_off_leaves_the_prompt_inside_the_row():
    turns = (
        Message("user", "hi"),
        Message("assistant", "ok"),
        Message("user", "x " * 100),
        Message("assistant", "done"),
    )
    renderer = Renderer(tiny_tokenizer(), get_recipe("sound-1", max_length=40))
    row = renderer.render(Example("talk", turns))
    assert row.truncated
    assert row.loss_mask[row.prompt_end + 1]
    assert not row.loss_mask[row.prompt_end]


def test_a_generation_prompt_with_an_empty_thought_is_not_part_of_an_answer():
    tokenizer = tiny_tokenizer()
    asks = "<|assistant|>\n' }}{% endif"
    assert asks in CHAT_TEMPLATE
    tokenizer.chat_template = CHAT_TEMPLATE.replace(
        asks, "<|assistant|>\n<think>\n\n</think>\n\n' }}{% endif"
    )
    renderer = Renderer(tokenizer, get_recipe("sound-1"))
    for answer in ("yes", "<th", "X", "Y"):
        row = renderer.render(Example.of("q", "hi", answer))
        assert tokenizer.decode(row.ids[row.loss_mask]) == f"{answer}</s>"
        asked = renderer.prompt_ids(Example.of("q", "hi", answer))
        assert tokenizer.decode(asked).endswith("<|assistant|>\n")
        assert asked == row.ids[: row.prompt_end + 1].tolist()


@pytest.mark.parametrize("kind", ["chat", "plain"])
def test_an_answer_to_nothing_is_refused(kind):
    renderer = Renderer(TOKENIZERS[kind], get_recipe("sound-1"))
    with pytest.raises(DataError, match="Add a prompt"):
        renderer.render(Example("q", (Message("assistant", "yes"),)))


def test_a_changed_recipe_says_so_in_its_name():
    assert get_recipe("sound-1", mask=None, max_length=1024).name == "sound-1"
    assert get_recipe("paper-1", mask="response").name == "paper-1(mask=response)"
    with pytest.raises(SettingError, match=r"sound-1, paper-1"):
        get_recipe("sound-9")


def test_the_name_of_a_changed_recipe_is_read_back():
    for changes in ({"mask": "prompt+response"}, {"mask": "paper", "max_length": 64}, {}):
        made = get_recipe("sound-1", **changes)
        assert get_recipe(made.name) == made
    assert get_recipe("paper-1(max_length=64)", mask="response").name == (
        "paper-1(max_length=64, mask=response)"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sound-1(damping=2)", "has no choice 'damping'"),
        ("sound-1(max_length=long)", "max_length must be a number"),
        ("sound-1(mask=none)", "mask must be response"),
        ("sound-9(mask=paper)", "no recipe is called 'sound-9'"),
    ],
)
def test_a_wrong_change_of_a_recipe_is_told(name, said):
    with pytest.raises(SettingError, match=said):
        get_recipe(name)
