#!/bin/bash
# bash tests/gpu/pack.sh [PYTHON [CUDA]]     in the repository's root, after `make setup`
# Makes .gpu/, which git ignores: what the check needs beside the checkout on a GPU machine that reaches no package index,
# in one archive of about 45 MiB. That machine has x86-64 Linux, Python of this version (3.12 unless another is named), torch
# with torchvision for this CUDA (13), and NumPy. Versions and hashes are the lock's.
# There: bash .gpu/check.sh
set -eu
version=${1:-3.12} cuda=${2:-13}
here=$(cd "$(dirname "$0")" && pwd)
rm -rf .gpu
mkdir -p .gpu/site
.venv/bin/uv pip install --quiet --no-deps --only-binary :all: --link-mode copy --no-compile-bytecode \
  --python-version "$version" --python-platform x86_64-manylinux_2_39 --target .gpu/site --constraint requirements.txt \
  transformers accelerate bitsandbytes xgrammar pydantic jsonschema pyyaml pillow \
  annotated-doc annotated-types anyio apache-tvm-ffi attrs click filelock fsspec h11 hf-xet httpcore2 httpx2 huggingface-hub \
  idna jsonschema-specifications markdown-it-py mdurl packaging psutil pydantic-core pygments referencing regex rich rpds-py \
  safetensors shellingham tokenizers tqdm truststore typer typing-extensions typing-inspection
# Of bitsandbytes 200 MB are for other versions of CUDA.
find .gpu/site/bitsandbytes -name 'libbitsandbytes_*.so' ! -name "*cuda$cuda*" ! -name '*cpu*' -delete
find .gpu/site -name __pycache__ -type d -prune -exec rm -rf {} +
tar -C .gpu -czf .gpu/site.tar.gz site
rm -rf .gpu/site
echo "$version" > .gpu/python_version
cp "$here/check.sh" .gpu/
du -h .gpu/site.tar.gz
