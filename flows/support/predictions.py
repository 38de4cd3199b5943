"""What a classifier says of the images, whichever way it is had."""

from tasks.classification.steps.probing import predict_probe
from tasks.classification.steps.training import predict_classifier
from tasks.records.classification import ClassifierRecord, PredictionsRecord
from tasks.records.data import DatasetRecord
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
