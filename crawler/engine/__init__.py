"""The engine: strands, parts and runs. It knows rules and seams, never adapters, web frameworks or the environment."""
