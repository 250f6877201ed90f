"""From embeddings to answers, in TensorFlow ops alone, so that an export carries it."""
