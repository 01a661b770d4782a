"""The real embedded model, from the package index to an answer."""

import pytest
import torch

import wherefrom as wf
from wherefrom.capture import Pass
from wherefrom.data import Renderer, get_recipe
from wherefrom.run import Run, execute, make_config
from wherefrom.signals import Kind, Need


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = make_config(
        "the test",
        task="grammars",
        train_per_class=1,
        queries_per_class=1,
        methods=["influence", "datainf", "gradient_cosine", "repsim", "bm25"],
        finetune={"epochs": 2, "batch_size": 5, "learning_rate": 2e-3},
    )
    return execute(tmp_path_factory.mktemp("runs") / "embedded", config).run


def test_the_captured_gradients_are_autograds(run):
    rows = Renderer(run.model.tokenizer, get_recipe("sound-1")).render_all(run.train)[:2]
    runs = Pass(run.model.model, frozenset({Need(Kind.GRADIENT)}), pad_id=run.model.pad_id)
    assert len(runs.blocks) == 120
    assert sum(block.size for block in runs.blocks) == 230_400
    assert runs.verify(rows) < 1e-4


def test_the_pass_takes_the_models_own_chat_template(run):
    row = Renderer(run.model.tokenizer, get_recipe("sound-1")).render(run.train[0])
    text = run.model.tokenizer.decode(row.ids)
    assert text.startswith("<|im_start|>system\n")
    answer = run.model.tokenizer.decode(row.ids[row.loss_mask])
    assert answer == run.train[0].response + "<|im_end|>"


def test_training_lowers_the_loss_and_the_run_is_whole(run):
    tuned = run.card.entries["fine-tune"]
    assert tuned["loss last"] < tuned["loss first"] - 1
    assert run.card.entries["model"]["adapter"]
    assert len(run.score()) == 5
    assert (run.path / "evaluation.parquet").is_file()


def test_a_row_is_its_own_strongest_proponent(run):
    row = run.train[3]
    answer = wf.open(run.path).trace(row.prompt, row.response, methods=("gradient_cosine",))
    assert answer.top(1).to_pandas()["train"][0] == row.id
    assert not answer.generated


def test_the_model_answers_when_no_response_is_given(run):
    answer = Run.open(run.path).trace(run.queries[0].prompt, methods=("influence", "bm25"))
    assert answer.generated
    assert answer.query.response
    assert [s.method for s in answer.scores] == ["influence", "bm25"]
    assert torch.isfinite(torch.tensor(answer.opponents(3).values)).all()
