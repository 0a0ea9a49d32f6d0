"""Splits and batches on a small made-up task whose every input carries its own row number."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from autohas_trainer.data import RawData, Splits, load
from autohas_trainer.data.split_indices import SplitIndices, split
from autohas_trainer.errors import ConfigurationError, DataError, TrainerError
from data_fixtures import train_numbers

CPU = torch.device("cpu")


def raw_data(num_sources: int = 60, per_source: int = 2, num_classes: int = 3, num_test: int = 7) -> RawData:
    """Input n is the constant n, its source n // per_source, its class the source modulo the number of classes."""
    rows = np.arange(num_sources * per_source)
    sources = rows // per_source
    return RawData(
        name="made up",
        inputs=np.broadcast_to(rows.astype(np.float32)[:, None, None, None], (len(rows), 1, 2, 2)).copy(),
        targets_N=(sources % num_classes).astype(np.int64),
        sources_N=sources.astype(np.int64),
        test_inputs=np.zeros((num_test, 1, 2, 2), dtype=np.float32),
        test_targets_N=np.zeros(num_test, dtype=np.int64),
        num_classes=num_classes,
    )


def divide(task: RawData, *, stratify: bool = True, seed: int = 0) -> SplitIndices:
    """A tenth for reward, a fifth for selection."""
    return split(task, reward=0.1, selection=0.2, stratify=stratify, seed=seed)


def splits(task: RawData | None = None, seed: int = 0) -> Splits:
    """The made-up task, split and resident."""
    task = task or raw_data()
    return Splits(task, divide(task, seed=seed), CPU)


def rows(task: RawData, indices: SplitIndices, batches: Iterable[Tensor]) -> list[int]:
    """Undo the normalisation: the row numbers that batches of inputs were made of."""
    train = train_numbers(task)[indices.train]
    return [round(float(value * train.std() + train.mean())) for inputs in batches for value in inputs[:, 0, 0, 0]]


@pytest.mark.parametrize("stratify", [True, False])
def test_no_source_lies_in_two_splits(stratify: bool) -> None:  # noqa: FBT001 - a test parameter
    """Train, reward and selection hold every row once, and no source is shared."""
    task = raw_data()
    indices = divide(task, stratify=stratify)
    parts = [indices.train, indices.reward, indices.selection]
    assert sorted(np.concatenate(parts)) == list(range(120))
    assert [len(part) for part in parts] == [84, 12, 24]
    sources = [set(task.sources_N[part]) for part in parts]
    assert not sources[0] & sources[1]
    assert not sources[0] & sources[2]
    assert not sources[1] & sources[2]


def test_stratified_splits_have_the_classes_in_proportion() -> None:
    """Each of three equal classes gives each split the same number of rows."""
    task = raw_data()
    indices = divide(task)
    for part, each in ((indices.train, 28), (indices.reward, 4), (indices.selection, 8)):
        assert np.bincount(task.targets_N[part]).tolist() == [each] * 3


def test_the_seed_decides_the_split() -> None:
    """The same seed splits alike, another differently."""
    task = raw_data()
    assert np.array_equal(divide(task).train, divide(task).train)
    assert set(divide(task).reward) != set(divide(task, seed=1).reward)


@pytest.mark.parametrize(("reward", "selection"), [(0, 0.1), (0.1, 1), (0.5, 0.5), (float("nan"), 0.1), (-0.1, 0.1)])
def test_impossible_shares_are_named(reward: float, selection: float) -> None:
    """Shares outside (0, 1), or that leave nothing to train on, are refused with the field's name."""
    with pytest.raises(ConfigurationError, match=r"task\.splits\."):
        split(raw_data(), reward=reward, selection=selection, stratify=True, seed=0)


def test_a_class_too_small_for_a_split_is_named_with_its_numbers() -> None:
    """Three sources per class cannot give a tenth to reward; the sentence says which class and how many."""
    with pytest.raises(ConfigurationError, match=r"class 0 has 3 sources.* 2 train, 0 reward and 1 selection"):
        divide(raw_data(num_sources=9))


def test_inputs_are_normalised_by_train_alone() -> None:
    """Train has mean 0 and deviation 1; test inputs go through the same map."""
    task = raw_data()
    made = splits(task)
    inputs = made.train_batch(0, made.num_train, 0).inputs
    assert inputs.mean().item() == pytest.approx(0, abs=1e-6)
    assert inputs.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    train = train_numbers(task)[divide(task).train]
    assert next(made.test()).inputs[0, 0, 0, 0].item() == pytest.approx(-train.mean() / train.std(), rel=1e-6)


def test_splits_state_their_sizes_and_types() -> None:
    """Sizes, classes and shape are those of the task; inputs are float32 and labels int64."""
    made = splits()
    assert (made.num_train, made.num_reward, made.num_selection, made.num_test) == (84, 12, 24, 7)
    assert (made.num_classes, made.input_shape) == (3, (1, 2, 2))
    batch = made.train_batch(0, 5, 0)
    assert (batch.inputs.dtype, batch.inputs.shape, batch.targets_B.dtype) == (torch.float32, (5, 1, 2, 2), torch.int64)


@pytest.mark.parametrize("size", [1, 5, 50, 84])
def test_each_epoch_takes_every_example_once(size: int) -> None:
    """Batches of any size chain into epochs that are permutations of the train split, straddling where they must."""
    task, made = raw_data(), splits()
    indices = divide(task)
    batches = [made.train_batch(step, size, 0) for step in range(3 * 84 // size)]
    assert {len(batch.targets_B) for batch in batches} == {size}
    seen = rows(task, indices, (batch.inputs for batch in batches))
    for epoch in range(len(seen) // 84):
        assert sorted(seen[84 * epoch : 84 * epoch + 84]) == sorted(indices.train)
    assert seen[:84] != seen[84:168]


def test_a_batch_depends_on_its_arguments_alone() -> None:
    """Asked in reverse order, by another object, after other seeds: the same batch, labels with their inputs."""
    task, one, other = raw_data(), splits(), splits()
    forward = [one.train_batch(step, 32, 3) for step in range(40)]
    for step in reversed(range(40)):
        other.train_batch(step, 7, 4)
        again = other.train_batch(step, 32, 3)
        assert torch.equal(again.inputs, forward[step].inputs)
        assert again.targets_B.tolist() == task.targets_N[rows(task, divide(task), [again.inputs])].tolist()


def test_seed_and_replica_change_the_order() -> None:
    """Another seed or replica sees the examples in another order."""
    made = splits()
    orders = [made.train_batch(0, 84, seed, replica).inputs for seed, replica in ((0, 0), (1, 0), (0, 1))]
    assert not any(torch.equal(orders[0], order) for order in orders[1:])


@pytest.mark.parametrize("size", [0, 85])
def test_impossible_batches_are_refused(size: int) -> None:
    """A batch must fit in the train split; the sentence has both numbers."""
    with pytest.raises(ConfigurationError, match=f"{size} examples cannot be taken from 84"):
        splits().train_batch(0, size, 0)


def test_reward_batches_are_stratified_keyed_and_without_repetition() -> None:
    """Six of twelve rewards: two of each class, none twice, the same for the same step, another for the next."""
    task, made = raw_data(), splits()
    indices = divide(task)
    draws = [made.reward_batch(step, 6, 0) for step in range(20)]
    for draw in draws:
        seen = rows(task, indices, [draw.inputs])
        assert len(set(seen)) == 6
        assert set(seen) <= set(indices.reward)
        assert torch.bincount(draw.targets_B).tolist() == [2, 2, 2]
    assert torch.equal(draws[7].inputs, splits().reward_batch(7, 6, 0).inputs)
    assert len({tuple(rows(task, indices, [draw.inputs])) for draw in draws}) > 10


def test_reward_quotas_share_the_remainder() -> None:
    """Eight of twelve over three classes of four: quotas 3, 3, 2, the earlier classes first."""
    assert torch.bincount(splits().reward_batch(0, 8, 0).targets_B).tolist() == [3, 3, 2]


def test_a_reward_batch_may_be_the_whole_split_but_not_more() -> None:
    """Twelve of twelve works; thirteen is refused with the field to change."""
    assert len(splits().reward_batch(0, 12, 0).targets_B) == 12
    with pytest.raises(ConfigurationError, match=r"13 examples .* 12; enlarge task\.splits\.reward"):
        splits().reward_batch(0, 13, 0)


def test_selection_is_read_whole_in_a_fixed_order() -> None:
    """Two readings give equal batches that hold the selection split once, classes mixed."""
    task = raw_data(num_sources=3000)
    made = splits(task)
    first, second = list(made.selection()), list(made.selection())
    assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(first, second, strict=True))
    assert sorted(rows(task, divide(task), (batch.inputs for batch in first))) == sorted(divide(task).selection)
    assert [len(batch.targets_B) for batch in first] == [400, 400, 400]
    assert all(len(batch.targets_B[:30].unique()) == 3 for batch in first)


@pytest.mark.parametrize("total", [2, 511, 512, 513, 1025, 4000])
def test_no_chunk_is_a_single_example(total: int) -> None:
    """Whatever the size of the test split, its chunks differ by at most one and cover it."""
    lengths = [len(batch.targets_B) for batch in splits(raw_data(num_test=total)).test()]
    assert sum(lengths) == total
    assert max(lengths) <= 512
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) > 1


def test_the_test_split_opens_once() -> None:
    """The second opening is an error even if the first was never read."""
    made = splits()
    made.test()
    with pytest.raises(TrainerError, match="second time"):
        made.test()


def test_one_class_only_is_named() -> None:
    """There is nothing to tell apart."""
    with pytest.raises(DataError, match="made up: all 84 training examples are of class 0; two are needed"):
        splits(raw_data(num_classes=1))


def test_constant_or_missing_data_are_named() -> None:
    """Inputs without variation cannot be normalised, and an empty test split tests nothing."""
    task = raw_data()
    train_numbers(task)[:] = 4
    with pytest.raises(DataError, match="made up: the training inputs are constant"):
        splits(task)
    with pytest.raises(DataError, match="made up: the test split is empty"):
        splits(raw_data(num_test=0))


def test_a_part_of_the_selection_split_is_always_the_same_with_classes_in_proportion() -> None:
    """100 of 300 examples, three classes of 50, 100 and 150: every time the same rows of the split, 17, 33 and 50 of them."""
    classes_N = np.repeat([0, 1, 2], [500, 1000, 1500]).astype(np.int64)
    inputs = np.arange(3000, dtype=np.float32)[:, None]
    task = RawData(
        name="made up",
        inputs=inputs,
        targets_N=classes_N,
        sources_N=np.arange(3000),
        test_inputs=inputs[:5],
        test_targets_N=classes_N[:5],
        num_classes=3,
        scaled_C=(),
    )
    made = Splits(task, split(task, reward=0.1, selection=0.1, stratify=True, seed=0), CPU)

    def selected(most: int | None) -> tuple[list[float], list[int]]:
        batches = list(made.selection(most))
        return torch.cat([b.inputs for b in batches]).flatten().tolist(), torch.cat([b.targets_B for b in batches]).tolist()

    part, targets = selected(100)
    assert selected(100) == (part, targets)
    assert np.bincount(targets).tolist() == [17, 33, 50]
    assert len(set(part)) == 100
    assert set(part) <= set(selected(None)[0])
    assert selected(300) == selected(1000) == selected(None)


def test_the_size_of_the_selection_split_may_be_refused_before_anything_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search whose budget is too small for its data ends before minutes of standardising, not after them."""
    seen: list[tuple[int, int, int]] = []

    def refuse(num_train: int, num_selection: int, num_reward: int) -> None:
        seen.append((num_train, num_selection, num_reward))
        raise ConfigurationError("too small")

    monkeypatch.setattr(Splits, "__init__", lambda *_: pytest.fail("the data was converted"))
    with pytest.raises(ConfigurationError, match="too small"):
        load("digits", None, {}, reward=0.1, selection=0.1, stratify=True, seed=0, device=CPU, check=refuse)
    assert len(seen) == 1
    assert min(seen[0]) > 100


def test_the_whole_reward_split_is_read_once() -> None:
    """Batches of the asked size at least, together every example of the split, in an order of the seed."""
    made = load("digits", None, {}, reward=0.1, selection=0.1, stratify=True, seed=0, device=CPU)

    def rewarded(size: int, seed: int) -> list[Tensor]:
        return [batch.inputs for batch in made.reward(size, seed)]

    batches = rewarded(64, 0)
    examples = torch.cat(batches).flatten(1)

    assert all(64 <= len(batch) < 128 for batch in batches)
    assert len(examples) == made.num_reward
    assert torch.equal(torch.cat(rewarded(64, 0)).flatten(1), examples)
    other = torch.cat(rewarded(10_000, 1)).flatten(1)
    assert not torch.equal(other, examples)
    assert sorted(map(tuple, other.tolist())) == sorted(map(tuple, examples.tolist()))
    drawn = made.reward_batch(3, 64, 0).inputs.flatten(1)
    assert {tuple(row) for row in drawn.tolist()} <= {tuple(row) for row in examples.tolist()}
