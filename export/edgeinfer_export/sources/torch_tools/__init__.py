"""What the readers of PyTorch's formats share.

This process never imports torch: `worker` does, in a child process (docs/decisions/0003). Modules
that start with ``child_`` are imported there only.
"""
