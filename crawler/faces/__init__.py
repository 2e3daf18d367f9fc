"""The faces: what people and programs call. They alone put adapters and engine together."""
