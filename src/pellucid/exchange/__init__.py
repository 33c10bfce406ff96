"""Models as files: parameters as safetensors, the network as the equations of its layers in JSON."""

from pellucid.exchange.model_files import ModelFiles, Preprocessing, read_model, read_parameters

__all__ = ["ModelFiles", "Preprocessing", "read_model", "read_parameters"]
