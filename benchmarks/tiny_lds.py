"""A first LDS for every method on a model small enough to retrain in seconds.

Makes a two-layer llama and its tokenizer, teaches it the language of a task, fine-tunes LoRA on a few
of its rows through the ordinary pipeline, and retrains on random halves: excluded rows weigh 0 in the
same batches, everything else is as it was. For every query, Spearman's correlation over halves between
the sum of a method's scores of the kept rows and the query's mean log-probability; then the mean over
queries. Retraining on all rows must give back the fine-tuned model, or nothing is measured.

    python benchmarks/tiny_lds.py [--task emotion] [--subsets 64] [--methods all] [--out DIR]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from scipy.stats import rankdata
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from wherefrom.data import Renderer
from wherefrom.models import IGNORED, batch_order, counted_losses
from wherefrom.run import execute, make_config
from wherefrom.tasks import TaskSize, build_task

RECIPE = "sound-1"


def make_base(folder, texts, epochs):
    """A byte-level tokenizer and a two-layer model that has read the texts."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=800, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = [torch.tensor(tokenizer(text).input_ids[:128]) for text in texts]
    for _ in range(epochs):
        for start in range(0, len(ids), 16):
            batch = ids[start : start + 16]
            padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=0)
            labels = padded.masked_fill(padded == 0, IGNORED)
            loss = model(padded, attention_mask=(padded != 0).long(), labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return float(loss)


def padded_batch(rows):
    length = max(len(row.ids) for row in rows)

    def pad(values, fill):
        lines = [
            np.pad(v.astype(np.int64), (0, length - len(v)), constant_values=fill) for v in values
        ]
        return torch.from_numpy(np.stack(lines))

    labels = pad([np.where(r.loss_mask, r.ids, IGNORED) for r in rows], IGNORED)
    return labels, pad([r.ids for r in rows], 0), pad([r.attention for r in rows], 0)


class Retrainer:
    """The run's own recipe: same first weights, same batches, same rates; only the rows' weights change."""

    def __init__(self, base, run, rows, queries):
        settings = run.config.finetune
        self.model = LlamaForCausalLM.from_pretrained(base)
        self.model = get_peft_model(
            self.model,
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                lora_dropout=0.0,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
        self.first = load_file(run.path / "trajectory" / "initial" / "weights.safetensors")
        self.plan = [batch for epoch in batch_order(len(rows), settings) for batch in epoch]
        self.batches = [padded_batch([rows[i] for i in batch]) for batch in self.plan]
        self.settings, self.queries = settings, padded_batch(queries)

    def outputs(self, kept):
        """Mean log-probability of every query's response after training on the kept rows."""
        set_peft_model_state_dict(self.model, self.first)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            parameters, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        total = len(self.plan)
        for step, (rows, (labels, ids, attention)) in enumerate(
            zip(self.plan, self.batches, strict=True)
        ):
            weights = torch.tensor([float(i in kept) for i in rows])
            found = counted_losses(self.model, labels, input_ids=ids, attention_mask=attention)
            loss = (found.losses.sum(1) * weights).sum() / found.counted.sum()
            for group in optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * (total - step) / total
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm)
            optimizer.step()
        with torch.no_grad():
            labels, ids, attention = self.queries
            found = counted_losses(self.model, labels, input_ids=ids, attention_mask=attention)
            return (-found.losses.sum(1) / found.counted.sum(1)).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="emotion")
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--subsets", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--methods", default="all")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    out = chosen.out or Path(tempfile.mkdtemp())
    other = build_task(chosen.task, TaskSize(30, 10), seed=99)
    texts = [f"{row.prompt}\n{row.response}" for row in other.train]
    base = out / "base"
    if not (base / "config.json").is_file():
        loss = make_base(base, texts, epochs=4)
        print(f"base: {len(texts)} texts of the same task and another seed, loss {loss:.2f}")
    config = make_config(
        "tiny LDS",
        model=str(base),
        task=chosen.task,
        train_per_class=chosen.per_class,
        queries_per_class=4,
        recipe=RECIPE,
        methods=chosen.methods.split(","),
        finetune={
            "rank": 4,
            "alpha": 16.0,
            "dropout": 0.0,
            "targets": ["all-linear"],
            "epochs": chosen.epochs,
            "batch_size": 8,
            "learning_rate": 5e-3,
            "precision": "float32",
        },
    )
    done = execute(out / "run", config)
    renderer = Renderer(done.run.model.tokenizer, done.run.config.recipes()[0])
    rows = renderer.render_all(done.run.train)
    queries = renderer.render_all(done.run.queries)
    retrainer = Retrainer(base, done.run, rows, queries)

    whole = retrainer.outputs(set(range(len(rows))))
    labels, ids, attention = padded_batch(queries)
    with torch.no_grad():
        found = counted_losses(
            done.run.model.model, labels, input_ids=ids, attention_mask=attention
        )
    tuned = (-found.losses.sum(1) / found.counted.sum(1)).numpy()
    gap = float(np.abs(whole - tuned).max())
    print(
        f"retrained on all rows: largest difference to the fine-tuned model {gap:.2e} nats a token"
    )
    assert gap < 0.02, "the retraining is not the run's recipe"

    cache = out / f"outputs-{len(rows)}-{chosen.subsets}.npz"
    if cache.is_file():
        held = np.load(cache)
        kept, outputs = held["kept"], held["outputs"]
    else:
        rng = np.random.default_rng(0)
        begun = time.perf_counter()
        kept = np.zeros((chosen.subsets, len(rows)), dtype=bool)
        for line in kept:
            line[rng.choice(len(rows), len(rows) // 2, replace=False)] = True
        outputs = np.stack([retrainer.outputs(set(np.flatnonzero(line))) for line in kept])
        np.savez(cache, kept=kept, outputs=outputs)
        print(f"{chosen.subsets} retrainings: {time.perf_counter() - begun:.0f} s")

    truth = rankdata(outputs, axis=0)
    lines = []
    for (_, spec), scores in done.scores.items():
        predicted = rankdata(kept @ scores.values.T.astype(np.float64), axis=0)
        per_query = [
            np.corrcoef(a, b)[0, 1] if a.std() > 0 else 0.0
            for a, b in zip(predicted.T, truth.T, strict=True)
        ]
        resampled = np.random.default_rng(1).choice(per_query, (2000, len(per_query))).mean(1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        lines.append((float(np.mean(per_query)), low, high, spec))
    table = Table(
        "method",
        "LDS",
        "95 % over queries",
        title=f"{chosen.task}: {len(rows)} rows, {len(queries)} queries, {chosen.subsets} halves, one seed",
    )
    for mean, low, high, spec in sorted(lines, reverse=True):
        table.add_row(spec, f"{mean:.2f}", f"{low:.2f} – {high:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
