"""CutMix: a rectangle of the partner, whose area is the partner's share."""

import numpy as np
import torch

from autohas_trainer.data import TrainBatch
from autohas_trainer.engine.training.regularisation import cut_mix, keep_unmixed, mix, mix_by_key
from autohas_trainer.seeding import stream

BATCH = TrainBatch(inputs=torch.arange(6.0)[:, None, None, None].expand(6, 2, 8, 10).contiguous(), targets_B=torch.arange(6))


def test_a_rectangle_is_the_partners_and_its_area_its_share() -> None:
    """Each pixel is the example's or its partner's; the share counts them; all images have the same rectangle."""
    shares = []
    for seed in range(30):
        mixture = cut_mix(BATCH, 1.0, np.random.default_rng(seed))
        assert mixture.partners_B is not None
        assert sorted(mixture.partners_B.tolist()) == list(range(6))
        partners = mixture.partners_B.float()[:, None, None, None].expand_as(BATCH.inputs)
        is_own, is_partners = mixture.inputs == BATCH.inputs, mixture.inputs == partners
        assert bool((is_own | is_partners).all())
        moved = (mixture.partners_B != mixture.targets_B).nonzero().flatten()
        rectangle = is_partners[moved[0], 0]
        assert all(torch.equal(is_partners[row, channel], rectangle) for row in moved for channel in range(2))
        assert mixture.share == 1 - int(rectangle.sum()) / 80
        rows, columns = rectangle.any(dim=1).sum(), rectangle.any(dim=0).sum()
        assert int(rows * columns) == int(rectangle.sum())
        shares.append(mixture.share)
    assert 0.4 < float(np.mean(shares)) < 0.9
    assert len(set(shares)) > 10
    assert torch.equal(BATCH.inputs[:, 0, 0, 0], torch.arange(6.0))  # the batch itself is not changed


def test_with_mixup_too_a_fair_coin_of_the_step_chooses() -> None:
    """Of 200 steps about half are CutMix; the others are exactly what mixup alone would have made; without both nothing changes."""
    num_cut = 0
    for step in range(200):
        both, cut, mixed = (mix_by_key(BATCH, mixup, cutmix, 5, 0, step) for mixup, cutmix in ((0.4, 1.0), (0.0, 1.0), (0.4, 0.0)))
        assert torch.equal(mixed.inputs, mix(BATCH, 0.4, stream(5, "mixup", 0, step)).inputs)
        is_cut = torch.equal(both.inputs, cut.inputs) and both.share == cut.share
        assert is_cut or (torch.equal(both.inputs, mixed.inputs) and both.share == mixed.share)
        num_cut += is_cut
    assert 70 < num_cut < 130
    assert mix_by_key(BATCH, 0.0, 0.0, 5, 0, 1).share == keep_unmixed(BATCH).share == 1
