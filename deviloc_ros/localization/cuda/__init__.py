"""The stages of the method on a CUDA device: whole batches in few launches."""
