"""What the readers of legacy frameworks share: files, formats, and writing an ONNX graph."""
