#!/bin/bash
# bash .gpu/check.sh [SHAPE [DEVICE]]     in the repository's root on the GPU machine, after tests/gpu/pack.sh elsewhere
# Ends within ten minutes. What it finds lies in $OUT (/tmp/gpu_out), figure by figure. `bash .gpu/check.sh small cpu` tries it
# without a GPU. PYTHON names the interpreter, SECONDS_LEFT the time of the check itself (460).
set -u
shape=${1:-4b} device=${2:-cuda} out=${OUT:-/tmp/gpu_out} python=${PYTHON:-python3} failed=0
mkdir -p "$out"
wanted=$(cat .gpu/python_version)
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$found" != "$wanted" ]; then
  echo "error: $python is Python $found, but .gpu/ was packed for $wanted: name another with PYTHON, or pack for $found." >&2
  exit 2
fi
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
tar -C "$room" -xzf .gpu/site.tar.gz
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export OUTPUTS="$room/outputs" PYTHONPATH="$room/site:$PWD"
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null
"$python" - <<'END' || exit 1
import bitsandbytes, jsonschema, pydantic, torch, transformers, xgrammar
for each in (torch, transformers, bitsandbytes, xgrammar, pydantic, jsonschema):
    print(each.__name__, getattr(each, "__version__", ""), each.__file__)
END
tests=tests/models/report_generation/medgemma
if [ "$device" = cuda ] && "$python" -c 'import pytest' 2>/dev/null; then
  timeout 100 "$python" -m pytest -q -p no:cacheprovider --confcutdir=$tests --durations=5 -m gpu \
    $tests/test_checkpoint.py $tests/test_engine.py 2>&1 | tee "$out/tests.log" | tail -40
  [ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
fi
timeout 490 "$python" -m tests.gpu.check --shape "$shape" --device "$device" --seconds "${SECONDS_LEFT:-460}" \
  --out "$out" 2>&1 | tee "$out/check.log"
[ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
exit $failed
