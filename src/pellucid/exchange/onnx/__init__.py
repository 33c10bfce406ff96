"""ONNX files: read into equations, run, trained, and written."""
