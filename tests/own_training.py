"""Trainings as other people write them: a plain trainer and TRL's, and a witness of what they did."""

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from tiny import tiny_rows
from wherefrom.models import trained_state

ROWS = 11
COMMON = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 3,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
    "seed": 3,
}
LORA = LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")


class Witness(TrainerCallback):
    """Looks at the model, the optimizer and the trainer's own log, independently of what is tested."""

    def __init__(self):
        self.weights = {}
        self.moments = {}
        self.logged = []

    def on_train_begin(self, args, state, control, model=None, **_):
        self.weights[state.global_step] = trained_state(model)

    def on_step_end(self, args, state, control, model=None, optimizer=None, **_):
        self.weights[state.global_step] = trained_state(model)
        inner = getattr(optimizer, "optimizer", optimizer)
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.moments[state.global_step] = {
            n: inner.state[p]["exp_avg_sq"].clone() for n, p in named.items()
        }

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.logged.append((logs["loss"], logs["learning_rate"]))


def seen_by(kind):
    """The trainer class, noting which tokens each of its steps is made of."""

    class Seeing(kind):
        def training_step(self, model, inputs, *rest):
            batches = self.__dict__.setdefault("seen", {}).setdefault(self.state.global_step, [])
            for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
                batches.append(tuple(ids[mask.bool()].tolist()))
            return super().training_step(model, inputs, *rest)

    return Seeing


def rows_seen(trainer):
    """The rows of every step, found by their tokens among those of the trainer's data set."""
    numbers = {tuple(row["input_ids"]): i for i, row in enumerate(trainer.train_dataset)}
    assert len(numbers) == len(trainer.train_dataset)
    return [[numbers[ids] for ids in trainer.seen[step]] for step in sorted(trainer.seen)]


def collate(features):
    """Pads token rows; knows nothing of their numbers."""
    longest = max(len(f["input_ids"]) for f in features)
    ids = torch.zeros(len(features), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, feature in enumerate(features):
        length = len(feature["input_ids"])
        ids[i, :length] = torch.tensor(feature["input_ids"])
        labels[i, :length], mask[i, :length] = ids[i, :length], 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def token_rows(folder, n=ROWS):
    """A data set of token rows, all different."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [f"{row.prompt} {row.response}" for row in tiny_rows(n)]
    return Dataset.from_dict({"input_ids": [tokenizer(text).input_ids for text in texts]})


def plain(folder, out, callbacks, *, lora=True, rows=None, held_out=None, **changes):
    """A Hugging Face trainer."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return seen_by(Trainer)(
        model=get_peft_model(model, LORA) if lora else model,
        args=TrainingArguments(output_dir=str(out / "own"), **(COMMON | changes)),
        train_dataset=token_rows(folder) if rows is None else rows,
        eval_dataset=held_out,
        data_collator=collate,
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=callbacks,
    )


def sft(folder, out, callbacks, **changes):
    """TRL's trainer, over prompts and completions."""
    # slow to import, and the processes of a launcher train without it
    from trl import SFTConfig, SFTTrainer

    rows = tiny_rows(ROWS)
    columns = {"prompt": [r.prompt for r in rows], "completion": [r.response for r in rows]}
    return seen_by(SFTTrainer)(
        model=str(folder),
        args=SFTConfig(output_dir=str(out / "own"), **(COMMON | changes)),
        train_dataset=Dataset.from_dict(columns),
        peft_config=LORA,
        callbacks=callbacks,
    )
