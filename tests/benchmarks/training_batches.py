"""Varied batches of one epoch: the split as one tensor, against a data loader that opens every image by itself."""

import math
import random
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional

from models.classifier.augmentation import STRENGTHS
from models.classifier.preprocessing import Normalization
from tests.benchmarks.comparison import Comparison

STRENGTH = STRENGTHS["standard"]
BATCH_SIZE = 128
REPEATS = 3


class ImageDataset(Dataset):
    """One PIL image at a time, as the script of MedMNIST reads its splits."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.integer], transform: transforms.Compose) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, float]:
        return self.transform(Image.fromarray(self.images[index])), float(self.labels[index])


def reference_loader(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> DataLoader:
    """Open, vary and normalise every image by itself, with the strengths of our own augmentation."""
    normalization = Normalization.from_images(images)
    steps = [
        transforms.RandomAffine(
            STRENGTH.rotation,
            translate=(STRENGTH.shift, STRENGTH.shift),
            scale=(1 - STRENGTH.scale, 1 + STRENGTH.scale),
            interpolation=transforms.InterpolationMode.BILINEAR,
        ),
        transforms.Lambda(
            lambda image: functional.adjust_gamma(image, math.exp(random.uniform(-1, 1) * STRENGTH.gamma))
        ),
        transforms.ColorJitter(brightness=STRENGTH.brightness, contrast=STRENGTH.contrast),
        transforms.ToTensor(),
        transforms.Normalize(normalization.mean, normalization.std),
    ]
    dataset = ImageDataset(images, labels, transforms.Compose(steps))
    return DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True, drop_last=True, num_workers=0)


def measure(train_images: NDArray[np.uint8], train_labels: NDArray[np.integer]) -> Comparison:
    """Compare the preparation of one epoch's varied batches, without a network.

    Args:
        train_images: shape (images, height, width), 0–255.
        train_labels: 0 or 1, shape (images,).

    Returns:
        Median seconds of both.
    """
    normalization = Normalization.from_images(train_images)
    pixels = torch.from_numpy(np.array(train_images)).unsqueeze(1)

    def prepare() -> None:
        generator = torch.Generator().manual_seed(0)
        for chosen in torch.randperm(len(pixels), generator=generator).split(BATCH_SIZE):
            normalization.apply(STRENGTH(pixels[chosen].float() / 255, generator))

    def reference() -> None:
        for _ in reference_loader(train_images, train_labels):
            pass

    ours, theirs = _alternate(prepare, reference)
    return Comparison(
        name=f"varied batches of one epoch, {len(train_images)} images",
        ours=ours,
        reference=theirs,
        reference_name="DataLoader over PIL images",
        goal_ratio=10,
    )


def _alternate(ours: Callable[[], object], reference: Callable[[], object]) -> tuple[float, float]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for run, times in zip((ours, reference), seconds, strict=True):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return median(seconds[0]), median(seconds[1])
