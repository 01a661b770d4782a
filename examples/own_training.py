"""A plain TRL fine-tune, with the two lines that let `wherefrom` look along it.

    python examples/own_training.py --model MODEL --data train.jsonl --out out/
    wherefrom index runs/mine --model MODEL --adapter out/adapter --data train.jsonl --methods fast,tracin

The rows are TRL's own prompt-completion shape: {"prompt": "…", "completion": "…"}, or with `response` in
place of `completion`.
"""

import argparse
from pathlib import Path

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from wherefrom import TrajectoryCallback  # line 1


def main() -> None:
    """Trains a LoRA adapter and saves it to OUT/adapter."""
    options = argparse.ArgumentParser(description="Fine-tune a model by TRL.")
    options.add_argument("--model", required=True, help="folder or hub id of the base model")
    options.add_argument("--data", required=True, help="JSONL with prompt and completion")
    options.add_argument("--out", required=True, type=Path, help="where the adapter goes")
    options.add_argument("--epochs", type=float, default=3)
    options.add_argument("--learning-rate", type=float, default=5e-4)
    given = options.parse_args()

    rows = load_dataset("json", data_files=given.data, split="train")
    if "completion" not in rows.column_names:
        rows = rows.rename_column("response", "completion")
    rows = rows.select_columns(["prompt", "completion"])

    gpu = torch.cuda.is_available()
    trainer = SFTTrainer(
        model=given.model,
        args=SFTConfig(
            output_dir=str(given.out / "checkpoints"),
            num_train_epochs=given.epochs,
            learning_rate=given.learning_rate,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=not gpu,
            bf16=gpu,
        ),
        train_dataset=rows,
        peft_config=LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[TrajectoryCallback(given.out / "trajectory")],  # line 2
    )
    trainer.train()
    trainer.save_model(str(given.out / "adapter"))


if __name__ == "__main__":
    main()
