"""One epoch of training: the split as one tensor, against a data loader that opens every image by itself."""

import math
import random
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional

from models.classifiers import build_classifier
from models.preprocessing import Normalization
from models.training import TrainingSettings, train
from tests.benchmarks.comparison import Comparison

SETTINGS = TrainingSettings(epochs=1, device="cpu")
REPEATS = 3


class ImageDataset(Dataset):
    """One PIL image at a time, as the script of MedMNIST reads its splits."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.integer], transform: transforms.Compose) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, float]:
        return self.transform(Image.fromarray(self.images[index])), float(self.labels[index])


def reference_loader(images: NDArray[np.uint8], labels: NDArray[np.integer], *, varied: bool) -> DataLoader:
    """Open, vary and normalise every image by itself, with the strengths of our own augmentation."""
    strengths = SETTINGS.augmentation
    normalization = Normalization.from_images(images)
    steps = [transforms.ToTensor(), transforms.Normalize([normalization.mean], [normalization.std])]
    if varied:
        steps = [
            transforms.RandomAffine(
                strengths.rotation,
                translate=(strengths.shift, strengths.shift),
                scale=(1 - strengths.scale, 1 + strengths.scale),
                interpolation=transforms.InterpolationMode.BILINEAR,
            ),
            transforms.Lambda(
                lambda image: functional.adjust_gamma(image, math.exp(random.uniform(-1, 1) * strengths.gamma))
            ),
            transforms.ColorJitter(brightness=strengths.brightness, contrast=strengths.contrast),
            *steps,
        ]
    dataset = ImageDataset(images, labels, transforms.Compose(steps))
    return DataLoader(dataset, batch_size=SETTINGS.batch_size, shuffle=varied, drop_last=varied, num_workers=0)


def reference_epoch(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    val_images: NDArray[np.uint8],
    val_labels: NDArray[np.integer],
) -> None:
    """Train the same network for an epoch and validate it, as the script of MedMNIST does."""
    loader = reference_loader(images, labels, varied=True)
    val_loader = reference_loader(val_images, val_labels, varied=False)
    model = build_classifier(SETTINGS.architecture)
    optimizer = torch.optim.AdamW(model.parameters(), lr=SETTINGS.learning_rate)
    criterion = nn.BCEWithLogitsLoss()
    model.train()
    for batch, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(batch), targets.float())
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for batch, _ in val_loader:
            model(batch)


def measure(train_images: NDArray[np.uint8], train_labels: NDArray[np.integer]) -> Comparison:
    """Compare one epoch with its validation, the set-up of the network included, on the CPU.

    Both sides train the same network, whose arithmetic is most of both times; so the ratio stays below what the data
    path alone gains, which `measure_batches` tells.

    Args:
        train_images: shape (images, height, width), 0–255; the last tenth serves as validation.
        train_labels: 0 or 1, shape (images,).

    Returns:
        Median seconds of both. Ours also averages the weights at every step, which the reference does not.
    """
    split = len(train_images) * 9 // 10
    parts = train_images[:split], train_labels[:split], train_images[split:], train_labels[split:]
    normalization = Normalization.from_images(parts[0])
    ours, reference = _alternate(lambda: train(*parts, normalization, SETTINGS), lambda: reference_epoch(*parts))
    return Comparison(
        name=f"one training epoch, {split} images, batch {SETTINGS.batch_size}",
        ours=ours,
        reference=reference,
        reference_name="DataLoader over PIL images, same network",
        goal_ratio=3,
    )


def measure_batches(train_images: NDArray[np.uint8], train_labels: NDArray[np.integer]) -> Comparison:
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
        for chosen in torch.randperm(len(pixels), generator=generator).split(SETTINGS.batch_size):
            normalization.apply(SETTINGS.augmentation(pixels[chosen].float() / 255, generator))

    def reference() -> None:
        for _ in reference_loader(train_images, train_labels, varied=True):
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
