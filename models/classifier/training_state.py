"""The state of a training, and its checkpoint."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict

import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch.optim.swa_utils import AveragedModel

from models.bounded_json import parse_json
from models.classifier.classifiers import Classifier
from models.classifier.epoch_metrics import EpochMetrics
from models.safetensors_metadata import load_tensors, read_metadata
from models.text import printable

logger = logging.getLogger(__name__)

Weights = dict[str, torch.Tensor]
Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class TrainingState:
    """The network, its moving average, its optimiser and what they have reached.

    Attributes:
        model: the network, on its device.
        average: moving average of its weights and batch statistics.
        optimizer: AdamW over the weights.
        history: one entry per epoch.
        best: weights of the average at the best epoch, empty before the first.
        best_epoch: number of the best epoch, 0 before the first.
    """

    def __init__(self, model: Classifier, *, weight_decay: float, ema_decay: float) -> None:
        self.model = model
        self.average = AveragedModel(model, multi_avg_fn=_moving_average(ema_decay), use_buffers=True)
        self.optimizer = torch.optim.AdamW(model.parameters(), weight_decay=weight_decay, fused=True)
        self.history: list[EpochMetrics] = []
        self.best: Weights = {}
        self.best_epoch = 0

    def step(self, loss: torch.Tensor, learning_rate: float) -> None:
        """Take one optimiser step, and update the moving average.

        Args:
            loss: a scalar of the model.
            learning_rate: the rate of this step.
        """
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.model)

    def record(self, metrics: EpochMetrics) -> None:
        """Add an epoch to the history, and keep its weights if they are the best.

        Args:
            metrics: what the epoch did.
        """
        self.history.append(metrics)
        if all(metrics.val_loss < earlier.val_loss for earlier in self.history[:-1]):
            self.best_epoch = metrics.epoch
            self.best = self._averaged()

    def dump(self, fingerprint: str) -> bytes:
        """Serialise the state.

        Args:
            fingerprint: identifies the settings and data of this training.

        Returns:
            Safetensors bytes for `restore`.
        """
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
        if self.best_epoch < len(self.history):  # else they are the averaged weights, which are there already
            tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        metadata = {
            "fingerprint": fingerprint,
            "best_epoch": str(self.best_epoch),
            "history": json.dumps([asdict(metrics) for metrics in self.history]),
        }
        return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata)

    def restore(self, payload: bytes, fingerprint: str) -> bool:
        """Load a state.

        Args:
            payload: what `dump` returned.
            fingerprint: that of this training.

        Returns:
            Whether it was loaded. A state that is damaged, or of another training, is refused with a warning; it may
            leave this one half filled, so start from a new one.
        """
        try:
            metadata = read_metadata(payload)
            if metadata["fingerprint"] != fingerprint:
                logger.warning("The checkpoint is of other settings or data: the training starts from the beginning.")
                return False
            tensors = load_tensors(payload)
            history = TypeAdapter(list[EpochMetrics]).validate_python(parse_json(metadata["history"]))
            best_epoch = int(metadata["best_epoch"])
            self._require_fit(tensors, history, best_epoch)
            self.model.load_state_dict(_part(tensors, "model."))
            self.average.load_state_dict(_part(tensors, "average."))
            self._restore_optimizer(_part(tensors, "optimizer."))
            self.history, self.best_epoch = history, best_epoch
            averaged = self._averaged()
            best = _part(tensors, "best.") or averaged
            self.best = {name: tensor.to(averaged[name].device) for name, tensor in best.items()}
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            logger.warning("The checkpoint is damaged (%s): the training starts from the beginning.", printable(error))
            return False
        return True

    def _require_fit(self, tensors: Weights, history: list[EpochMetrics], best_epoch: int) -> None:
        """Refuse tensors of other names, shapes or types than `dump` writes: the fused optimiser believes their sizes.

        Raises:
            ValueError: something does not fit.
        """
        if [entry.epoch for entry in history] != list(range(1, len(history) + 1)) or not (
            1 <= best_epoch <= len(history)
        ):
            raise ValueError("its epochs are not numbered from 1")
        wanted = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        wanted |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        if best_epoch < len(history):
            wanted |= {f"best.{name}": tensor for name, tensor in self.average.module.state_dict().items()}
        for index, parameter in enumerate(self.model.parameters()):
            if f"optimizer.{index}.step" in tensors:  # a weight without a gradient has no state
                wanted[f"optimizer.{index}.step"] = torch.tensor(0.0)
                wanted |= {f"optimizer.{index}.{name}": parameter for name in ("exp_avg", "exp_avg_sq")}
        if odd := sorted(tensors.keys() ^ wanted.keys()):
            raise ValueError(f"{odd[0]!r} is missing or not expected")
        for name, tensor in wanted.items():
            if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
                raise ValueError(f"{name!r} has another shape or type")

    def _averaged(self) -> Weights:
        return {name: tensor.clone() for name, tensor in self.average.module.state_dict().items()}

    def _restore_optimizer(self, tensors: Weights) -> None:
        parameters = list(self.model.parameters())
        state: dict[int, Weights] = {index: {} for index in range(len(parameters))}
        for name, tensor in tensors.items():
            index, key = name.split(".")
            # The fused step reads weights and moments in the order of their memory: give both the same layout.
            parameter = parameters[int(index)]
            state[int(index)][key] = torch.empty_like(parameter).copy_(tensor) if key != "step" else tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _moving_average(decay: float) -> Callable[[Tensors, Tensors, torch.Tensor | int], None]:
    """Average weights and batch statistics, over fewer steps at first.

    A full memory from the start (of 200 steps at .995) would still hold the first epochs at the end of a short
    training: its probabilities, though not their order, would be far off.
    """

    @torch.no_grad()
    def update(averages: Tensors, tensors: Tensors, steps: torch.Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        if averages[0].is_floating_point():  # PyTorch calls once for each type
            torch._foreach_lerp_(averages, tensors, share)
        else:  # the step counters of batch normalisation
            torch._foreach_copy_(averages, tensors)

    return update


def _part(tensors: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
