"""What the benchmark promises about itself: `python -m edgeinfer_bench.goals.bench`."""
