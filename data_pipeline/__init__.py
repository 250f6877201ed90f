"""From pictures and label maps to TFRecord shards, and from shards to batches."""
