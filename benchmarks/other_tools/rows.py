"""What both libraries are given: a run's fine-tuned model, its rows as padded tensors, a CSV to write.

The model is loaded by transformers and PEFT alone. The tokens come from wherefrom's Renderer, so that no
difference in templates or masks is measured; a user of the other library would tokenise by himself.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM

from wherefrom.data import Renderer
from wherefrom.models import load_tokenizer
from wherefrom.run import Run

IGNORED = -100


class Rows(Dataset):
    """Rows as dicts of tensors of one length; labels are -100 where the run's loss did not count."""

    def __init__(self, rows, length):
        self.ids = [row.id for row in rows]
        shape = (len(rows), length)
        self.input_ids = torch.zeros(shape, dtype=torch.long)
        self.attention_mask = torch.zeros(shape, dtype=torch.long)
        self.labels = torch.full(shape, IGNORED)
        for line, row in enumerate(rows):
            tokens = torch.as_tensor(row.ids, dtype=torch.long)
            counted = torch.as_tensor(row.loss_mask)
            self.input_ids[line, : len(tokens)] = tokens
            self.attention_mask[line, : len(tokens)] = torch.as_tensor(row.attention).long()
            self.labels[line, : len(tokens)] = tokens.where(counted, torch.tensor(IGNORED))

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, index):
        names = ("input_ids", "attention_mask", "labels")
        return {name: getattr(self, name)[index] for name in names}


@dataclass
class Problem:
    folder: Path
    run: Run
    train: Rows
    queries: Rows

    @classmethod
    def of(cls, folder):
        run = Run.open(folder)
        renderer = Renderer(load_tokenizer(run.config.model), run.config.recipes()[0])
        train, queries = renderer.render_all(run.train), renderer.render_all(run.queries)
        length = max(len(row.ids) for row in (*train, *queries))
        return cls(folder, run, Rows(train, length), Rows(queries, length))

    def model(self):
        """A fresh copy, for libraries that wrap layers in place; only the adapter has gradients."""
        base = AutoModelForCausalLM.from_pretrained(self.run.config.model, dtype=torch.float32)
        return PeftModel.from_pretrained(base, self.folder / "adapter", is_trainable=True).eval()

    def write(self, scores, path):
        """Queries × training rows, with the ids of both, as `wherefrom evaluate --scores` takes them."""
        assert scores.shape == (len(self.queries), len(self.train)), scores.shape
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            out.writerow(["query", *self.train.ids])
            for name, line in zip(self.queries.ids, scores.tolist(), strict=True):
                out.writerow([name, *line])
        print(f"{path.name}: {scores.min():.3g} to {scores.max():.3g}")
