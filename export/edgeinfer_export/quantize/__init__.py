"""Quantization, and everything else on the workstation side that runs ONNX Runtime itself."""
