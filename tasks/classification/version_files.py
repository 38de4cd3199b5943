"""Where the files of a registered version lie in its folder."""

MODEL_CARD = "README.md"
DATA_CARD = "croissant.json"
PACKAGE = "analysis/classifier.safetensors"
GRAPH = "serving/classifier.onnx"
