"""What a classifier says of the images, whichever way it is had."""

from prefect.logging import get_run_logger

from tasks.classification.steps.probing import predict_probe
from tasks.classification.steps.training import predict_classifier
from tasks.records.classification import ClassifierRecord, PredictionsRecord
from tasks.records.data import CHEST_X_RAYS, DatasetRecord
from tasks.retrieval.steps.encoding import embed_images


def predicted(data: DatasetRecord, classifier: ClassifierRecord) -> PredictionsRecord:
    """Compute the logits of a classifier; those of a probe from the vectors of its encoder, which may be there already.

    Args:
        data: the images.
        classifier: the classifier.

    Returns:
        Its logits and embeddings.
    """
    if classifier.encoder is None:
        return predict_classifier(data, classifier)
    return predict_probe(data, classifier, embed_images(data, classifier.encoder))


def corruptible(data: DatasetRecord, classifier: ClassifierRecord, images: int, what: str) -> bool:
    """Tell whether what corrupted images are for is wanted and can be made, and log why it is left out.

    Args:
        data: the images.
        classifier: what would predict them.
        images: how many are wanted.
        what: what they are for.
    """
    if images == 0:
        return False
    if data.name != CHEST_X_RAYS:
        get_run_logger().info("%s is left out: its corruptions are those of %s", what, CHEST_X_RAYS)
        return False
    if classifier.encoder is not None and classifier.encoder.device == "cpu":
        get_run_logger().info("%s is left out: the encoder of a probe needs a GPU for so many images", what)
        return False
    return True
