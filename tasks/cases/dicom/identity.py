"""Which DICOM object a result is: identifiers that are the same whenever the same thing is written again."""

from tasks.cases.algorithm import Algorithm
from tasks.cases.case import Case
from tasks.cases.dicom.source import Origin, made_uid
from tasks.cases.export_wording import result


def object_uid(kind: str, place: Origin, case: Case, algorithm: Algorithm) -> str:
    """Make the identifier of an object of a case.

    It is made of the picture, the classifier, the version and what is said of the picture: an archive that is sent the
    same twice keeps it once, and never finds something else under a known identifier.

    Args:
        kind: of the object.
        place: where the picture comes from.
        case: the case.
        algorithm: what it was computed with.

    Returns:
        A UID.
    """
    sets = case.classification.sets if case.classification is not None else {}
    said = [
        result(case, algorithm),
        *(f"{coverage}: {', '.join(members)}" for coverage, members in sorted(sets.items())),
    ]
    picture = [place.study, place.picture.instance if place.picture else "", case.digest]
    return made_uid(kind, *picture, algorithm.classifier_sha256, algorithm.version, *said)


def series_uid(uid: str) -> str:
    """Make the identifier of the series of an object, which holds nothing else."""
    return made_uid("series", uid)
