"""What the runtime promises about itself, measured side by side in one run.

`python -m edgeinfer_bench.goals --report FILE.md` measures all of it.
"""
