"""Small DICOM files, made of arrays."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from models.errors import InputError
from tasks.data.pictures.image_file import read_image

IMAGE = np.add.outer(np.arange(20) * 5, np.arange(30) * 4).astype(np.uint8)  # height 20, width 30


def dicom(values, photometric="MONOCHROME2", bits=None, syntax=ExplicitVRLittleEndian, **elements):
    """A small DICOM file of an array: (height, width), with a last axis of 3 in colour."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["test"])
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * values.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.add_new("PixelData", "OW" if values.itemsize > 1 else "OB", values.tobytes())
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def read(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return read_image(path)


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message
