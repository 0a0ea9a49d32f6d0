"""`python -m benchmarks.char_transformer TEXT`: the default of examples/20 next to a plain PyTorch loop of the same recipe.

Both learn the next character from the first 90 % of a text and are tested on windows of the last 10 %: the loss in nats, by seed. The loop
is written from scratch: model, random windows, AdamW, warm-up and cosine, clipping. It begins from AutoHAS's first weights or from GPT-2's.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from benchmarks.provenance import provenance
from torch import Tensor, nn
from torch.nn import functional

from autohas_api.accept.acceptance import accept
from autohas_api.base import yaml_file
from autohas_trainer.engine.training.search_task import SearchTask
from autohas_trainer.engine.training.training import Training
from autohas_trainer.seeding import make_deterministic

EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "20-char-transformer.yaml"
LENGTH, BATCH, WIDTH, DEPTH, HEADS = 64, 32, 128, 4, 4
RATE, DECAY, WARMUP, CLIP = 1e-3, 0.01, 0.05, 1.0


class Layer(nn.Module):
    """Causal attention and two linear maps, each after a normalisation and with its input added."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape, (B, T, D)."""
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=2))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class Network(nn.Module):
    """A language model over characters."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers, self.norm, self.head = (
            nn.Sequential(*(Layer() for _ in range(DEPTH))),
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, vocabulary),
        )
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                is_last = name.endswith(("out.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * DEPTH) if is_last else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, T, K)."""
        features = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        logits: Tensor = self.head(self.norm(self.layers(features)))
        return logits


def train_plain(network: nn.Module, text: Tensor, steps: int) -> nn.Module:
    """The training loop of a script without AutoHAS."""
    matrices, vectors = ([p for p in network.parameters() if (p.ndim > 1) == is_matrix] for is_matrix in (True, False))
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}], lr=RATE)
    warmup = round(WARMUP * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2,
    )
    for _ in range(steps):
        starts = torch.randint(len(text) - LENGTH, (BATCH, 1))
        windows = text[starts + torch.arange(LENGTH + 1)]
        loss = functional.cross_entropy(network(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation here
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def test_loss(network: nn.Module, text: Tensor) -> float:
    """Mean loss in nats over windows without an overlap."""
    windows = text[torch.arange(0, len(text) - LENGTH, LENGTH)[:, None] + torch.arange(LENGTH + 1)]
    parts = torch.split(windows, 64)
    losses = [functional.cross_entropy(network(part[:, :-1]).flatten(0, 1), part[:, 1:].flatten(), reduction="sum") for part in parts]
    return float(sum(losses)) / (len(windows) * LENGTH)


def load_product(path: Path, steps: int) -> SearchTask:
    """The example with this text and number of steps."""
    document: dict[str, Any] = yaml_file.read_mapping(EXAMPLE)
    document["spec"]["task"]["data"]["path"] = str(path)
    document["spec"]["training"]["steps"] = steps
    search, space = accept(document)
    return SearchTask.load(search.spec, space, torch.device("cpu"), is_search=False)


def build_first(search_task: SearchTask, seed: int) -> nn.Module:
    """The default's network at step 0."""
    return _copy_network(search_task, Training(search_task, search_task.space.default, repeat=seed)).train()


def train_product(search_task: SearchTask, seed: int) -> nn.Module:
    """The default's training as the product runs it."""
    training = Training(search_task, search_task.space.default, repeat=seed)
    while not training.is_finished:
        training.step()
    return _copy_network(search_task, training).eval()


def _copy_network(search_task: SearchTask, training: Training) -> nn.Module:
    network = search_task.template.build(search_task.built_from(search_task.space.default), (0,))
    network.load_state_dict(training.model_tensors())
    return network


def compare(path: Path, steps: int, seeds: int) -> Iterator[str]:
    """The lines of the table as they are ready."""
    content = path.read_text(encoding="utf-8")
    numbers = {character: number for number, character in enumerate(sorted(set(content)))}
    text = torch.tensor([numbers[character] for character in content])
    train, test = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    search_task = load_product(path, steps)
    yield f"# The next character: {path.name}\n\n{provenance()}; {steps} steps of {BATCH} windows of {LENGTH}.\n"
    yield "| seed | AutoHAS, loss in nats | loop, its first weights | loop, GPT-2's first weights | CPU s |\n|---|---|---|---|---|"
    rows = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        begun = time.process_time()
        networks = [train_product(search_task, seed)]
        seconds = [time.process_time() - begun]
        for network in (build_first(search_task, seed), Network(len(numbers))):
            begun = time.process_time()
            networks.append(train_plain(network, train, steps))
            seconds.append(time.process_time() - begun)
        rows.append([test_loss(network, test) for network in networks])
        yield f"| {seed} | {' | '.join(f'{loss:.4f}' for loss in rows[-1])} | {', '.join(f'{each:.0f}' for each in seconds)} |"
    columns = list(zip(*rows, strict=True))
    means = [statistics.mean(column) for column in columns]
    deviations = [statistics.stdev(column) if seeds > 1 else 0.0 for column in columns]
    yield f"| mean | {' | '.join(f'{m:.4f} ± {d:.4f}' for m, d in zip(means, deviations, strict=True))} | |"
    for name, mean, deviation in zip(("its", "GPT-2's"), means[1:], deviations[1:], strict=True):
        error = math.sqrt((deviations[0] ** 2 + deviation**2) / seeds)
        yield f"\nDifference from the plain loop with {name} first weights {means[0] - mean:+.4f}, standard error {error:.4f}."


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.char_transformer", description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path, help="a text file, such as Tiny Shakespeare")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    make_deterministic(1)
    for line in compare(arguments.text, arguments.steps, arguments.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
