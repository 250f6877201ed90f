"""The paper's mathematics: pure functions on tensors that import only TensorFlow."""
