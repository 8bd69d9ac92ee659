"""Training steps and inference, rushlight against PyTorch: `python -m benchmarks`."""
