"""Transfer learning from end to end: a folder of pictures, a frozen trunk with a new head, then fine-tuning."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageDraw

from fastconv import metrics, optim
from fastconv.datasets import ImageFolder
from fastconv.datasets import transforms as T
from fastconv.layers import Affine
from fastconv.networks import ResNet18
from fastconv.trainer import Trainer

SIZE = 48


def draw(folder, count, seed):
    """Pictures of rings and of crosses, anywhere and in any colour."""
    rng = np.random.default_rng(seed)
    for kind in ("cross", "ring"):
        (folder / kind).mkdir(parents=True)
        for i in range(count):
            picture = Image.new("RGB", (64, 56), tuple(rng.integers(0, 100, 3)))
            pen, colour = ImageDraw.Draw(picture), tuple(rng.integers(150, 255, 3))
            x, y, r = *rng.integers(18, 38, 2), int(rng.integers(10, 17))
            if kind == "ring":
                pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=5)
            else:
                pen.line((x - r, y - r, x + r, y + r), fill=colour, width=5)
                pen.line((x - r, y + r, x + r, y - r), fill=colour, width=5)
            picture.save(folder / kind / f"{i}.png")


@pytest.mark.system("N9", "F26")
def test_a_frozen_trunk_and_fine_tuning(tmp_path):
    draw(tmp_path / "train", 30, 0)
    draw(tmp_path / "held", 10, 1)
    normalise = T.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    crops = T.Compose([T.RandomResizedCrop(SIZE, scale=(0.8, 1.0)), T.RandomHorizontalFlip(), normalise])
    train = ImageFolder(tmp_path / "train", crops)
    held = ImageFolder(tmp_path / "held", T.Compose([T.Resize(SIZE), T.CenterCrop(SIZE), normalise]))
    assert train.classes == ["cross", "ring"]

    source = ResNet18(classes=5, rng=0)  # stands for a network that was trained on other pictures: it knows their range
    for _ in range(30):
        source.predict(np.stack([train[i][0] for i in range(0, len(train), 4)]), train_flg=True)
    source.save_torch(tmp_path / "weights.safetensors")
    net = ResNet18(classes=5, rng=1)
    assert net.load_torch(tmp_path / "weights.safetensors") == ([], [])
    rng = np.random.default_rng(2)
    net.replace("fc", Affine(0.01 * rng.standard_normal((512, 2)).astype(np.float32), np.zeros(2, np.float32)))
    trunk = [name for name in net.layers if name != "fc"]
    net.freeze(*trunk)

    before = {name: p.copy() for name, p in {**net.params, **net.named_statistics()}.items()}
    options = {"mini_batch_size": 10, "verbose": False, "shuffle": True, "seed": 0, "validation": held}
    first = Trainer(net, train, None, epochs=4, optimizer=optim.Adam(0.002), **options)
    first.train()
    for name, p in {**net.params, **net.named_statistics()}.items():
        assert (p == before[name]).all() == (not name.startswith("fc")), name
    assert first.val_loss_list[-1] < first.val_loss_list[0]

    net.unfreeze()
    rates = {"fc": 1e-3, "*": 3e-4}
    second = Trainer(net, train, None, epochs=6, optimizer=optim.Adam(rates), **options)
    second.train()
    assert (net.params["conv1.W"] != before["conv1.W"]).any()
    x = np.stack([held[i][0] for i in range(len(held))])
    t = np.array([held[i][1] for i in range(len(held))])
    assert metrics.accuracy(net.predict(x), t) == net.accuracy(x, t) >= 0.8
    assert_array_equal(net.compile()(x).argmax(axis=1), net.predict(x).argmax(axis=1))
