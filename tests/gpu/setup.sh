#!/usr/bin/env bash
# Tests the GPU providers on a box with CUDA 13 and no network: everything comes from a folder of
# wheels. See README.md beside this file for which.
#
#   tests/gpu/setup.sh --wheels DIR [--venv DIR] [--report DIR] [--python PROGRAM]
#                      [--expect "cuda tensorrt"] [--install-only] [-- PYTEST ARGUMENTS]
#
# --wheels   wheels, whole or in the pieces that pieces.py made
# --expect   providers that must run here: that one of them does not is a failure, not a skip
# --report   gets the tests' output and what the box is
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

wheels='' venv=.venv-gpu report=build/gpu-report python=python3 expect='cuda tensorrt' only=''
while [ $# -gt 0 ]; do
    case $1 in
    --wheels) wheels=$2 && shift 2 ;;
    --venv) venv=$2 && shift 2 ;;
    --report) report=$2 && shift 2 ;;
    --python) python=$2 && shift 2 ;;
    --expect) expect=$2 && shift 2 ;;
    --install-only) only=yes && shift ;;
    --) shift && break ;;
    *) echo "setup.sh: unknown option $1; the head of this file lists them" >&2 && exit 2 ;;
    esac
done
if [ ! -d "$wheels" ]; then
    echo "setup.sh: give --wheels DIR, a folder of wheels; '$wheels' is none" >&2
    exit 2
fi

venv=$(realpath -m "$venv") report=$(realpath -m "$report")
whole=$(mktemp -d)
trap 'rm -rf "$whole"' EXIT
"$python" "$here/pieces.py" join "$wheels" "$whole"
# Every distribution in the folder, by name: pip takes the version that fits this Python.
names=$(cd "$whole" && for file in *.whl; do echo "${file%%-*}"; done | sort -u)
if grep -qx onnxruntime <<<"$names" && grep -qx onnxruntime_gpu <<<"$names"; then
    echo "setup.sh: the wheels onnxruntime and onnxruntime-gpu overwrite each other: remove one" >&2
    exit 1
fi
"$python" -m venv "$venv"
# shellcheck disable=SC2086
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index \
    --find-links "$whole" $names
[ -z "$only" ] || exit 0

# NVIDIA's wheels keep their libraries in folders that the loader does not know.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for libraries in "$site"/nvidia/*/lib "$site"/tensorrt_libs; do
    [ ! -d "$libraries" ] || LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}"
export PYTHONPATH="$root:$root/export:$root/benchmarks"
export EDGEINFER_TEST_ENVIRONMENT=gpu EDGEINFER_GPU_EXPECT="$expect"

mkdir -p "$report"
{
    nvidia-smi || true
    "$venv/bin/python" -m pip list --disable-pip-version-check
    "$venv/bin/python" -m edgeinfer providers || true
} >"$report/box.txt" 2>&1
code=0
(cd "$root" && "$venv/bin/python" -m pytest -p no:cacheprovider tests/gpu "$@") 2>&1 |
    tee "$report/tests.txt" || code=$?
echo "GPU tests: $(grep -E '[0-9]+ (passed|failed|error|skipped)' "$report/tests.txt" | tail -n 1)"
echo "report in $report"
exit "$code"
