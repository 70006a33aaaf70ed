"""What the exporter promises of small models: speed, accuracy, and the gate beside NNCF's.

`python -m edgeinfer_bench.goals.export --report FILE.md` measures all of it. For the comparison
with NNCF, `make nncf` builds an environment of its own first.
"""
