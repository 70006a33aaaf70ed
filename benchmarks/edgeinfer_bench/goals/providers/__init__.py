"""What choosing by measuring is worth, measured side by side in one run.

`python -m edgeinfer_bench.goals.providers --report FILE.md` measures all of it in the environment
that it runs in: once beside stock onnxruntime, once more where OpenVINO is installed.
"""
