from models.classifier.epoch_metrics import EpochMetrics
from tasks.classification.epoch_curves import epoch_points
from tasks.records.base import Point


def test_every_epoch_is_a_point_of_every_curve_at_the_time_at_which_it_ended():
    fields = {"val_loss": 0.5, "val_auc": 0.9, "learning_rate": 0.1, "seconds": 2.0}
    epochs = [EpochMetrics(epoch=n, train_loss=1 / n, finished_at=1_700_000_000_000 + n, **fields) for n in (1, 2)]
    points = epoch_points(epochs)
    assert points[0] == Point("train/loss", 1.0, 1, 1_700_000_000_001)
    assert [point for point in points if point.step == 2] == [
        Point(name, value, 2, 1_700_000_000_002)
        for name, value in {
            "train/loss": 0.5, "val/loss": 0.5, "val/auc_by_epoch": 0.9, "train/learning_rate": 0.1,
            "train/epoch_seconds": 2.0,
        }.items()
    ]  # fmt: skip
