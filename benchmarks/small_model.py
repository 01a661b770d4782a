"""A small llama and its tokenizer, made from a few texts in seconds."""

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from wherefrom.models import IGNORED
from wherefrom.tasks import build_task


def shuffled_texts(task, size, most=None):
    """Texts of a task under a seed that nothing else uses, each with the answer of another.

    A model that has read them knows the form, and no row that it is fine-tuned on.
    """
    rows = build_task(task, size, seed=99).train[:most]
    order = np.random.default_rng(0).permutation(len(rows))
    return [f"{row.prompt}\n{rows[i].response}</s>" for row, i in zip(rows, order, strict=True)]


def make_base(folder, texts, epochs, width=64, layers=2, learning_rate=3e-3):
    """A byte-level tokenizer and a model of that width and depth that has read the texts."""
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
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
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
