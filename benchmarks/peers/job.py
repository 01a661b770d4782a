"""What every tool is given and gives back: token rows, a clock, scores.

Imported by the script of each tool inside that tool's own environment, so nothing of wherefrom is here.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

STARTED = float(os.environ.get("PEERS_STARTED", time.time()))
"""When benchmarks/peers.py started this process."""
IGNORED = -100


class Job:
    """A folder with `model` and `adapter` named in job.json, and train.jsonl and queries.jsonl.

    A line of these two is `id`, `input_ids`, `labels` (-100 where the loss does not count) and `length`.
    """

    def __init__(self, folder, out):
        self.folder, self.out = Path(folder).resolve(), Path(out).resolve()
        about = json.loads((self.folder / "job.json").read_text())
        self.base, self.adapter = about["model"], about["adapter"]
        self.stamps, self.extrapolated = {}, None

    def stamp(self, what):
        """Notes wall seconds since the process was started, and its CPU seconds, at their first time."""
        self.stamps.setdefault(what, (time.time() - STARTED, sum(os.times()[:4])))

    def watch(self):
        """Imports are done; the model's load and the first batch are noted by themselves from here on."""
        import peft
        from torch.nn.modules.module import register_module_forward_pre_hook

        self.stamp("imported")
        load = peft.PeftModel.from_pretrained

        def loaded(*args, **kwargs):
            found = load(*args, **kwargs)
            self.stamp("model loaded")
            return found

        def begun(module, inputs):
            handle.remove()
            self.stamp("first batch")
            # a forked process has a clock of its own; the first one to begin counts
            with suppress(FileExistsError), (self.out / "first-batch").open("x") as file:
                json.dump(self.stamps["first batch"], file)

        peft.PeftModel.from_pretrained = loaded
        handle = register_module_forward_pre_hook(begun)

    def rows(self, side):
        """Dicts of lists, in the order of the file."""
        return [json.loads(line) for line in (self.folder / f"{side}.jsonl").open()]

    def model(self):
        """Base and adapter in float32; only the adapter has gradients."""
        import peft
        import torch
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32)
        return peft.PeftModel.from_pretrained(base, self.adapter, is_trainable=True).eval()

    def adapted(self, model):
        """Names of the adapter's matrices, each a linear layer of its own."""
        names = dict(model.named_modules())
        return [n for n, m in names.items() if n.split(".")[-2:-1] in (["lora_A"], ["lora_B"])]

    def write(self, method, scores):
        """Scores, queries × training rows, under the name of the method of wherefrom that they are.

        The sign is wherefrom's: the row that helps a query most stands highest.
        """
        import numpy as np

        (self.out / "scores").mkdir(parents=True, exist_ok=True)
        np.save(self.out / "scores" / f"{method}.npy", np.asarray(scores, dtype=np.float32))

    def finish(self):
        first = self.out / "first-batch"
        if first.is_file():
            self.stamps["first batch"] = json.loads(first.read_text())
        found = {"stamps": self.stamps, "extrapolated": self.extrapolated}
        (self.out / "clock.json").write_text(json.dumps(found))


def padded(rows):
    """Rows as input ids, attention mask and labels of one length, pads at the end."""
    import torch

    shape = (len(rows), max(row["length"] for row in rows))
    ids, labels = torch.zeros(shape, dtype=torch.long), torch.full(shape, IGNORED)
    mask = torch.zeros(shape, dtype=torch.long)
    for line, row in enumerate(rows):
        ids[line, : row["length"]] = torch.tensor(row["input_ids"])
        labels[line, : row["length"]] = torch.tensor(row["labels"])
        mask[line, : row["length"]] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def summed_means(logits, labels):
    """Mean cross-entropy of a row's counted tokens, summed over rows: no row weighs on another."""
    import torch.nn.functional as F

    labels = labels[:, 1:]
    # the vocabulary must stay the last axis: along another, PyTorch's sums lose three digits
    losses = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED
    )
    return (losses.view(labels.shape).sum(1) / (labels != IGNORED).sum(1)).sum()
