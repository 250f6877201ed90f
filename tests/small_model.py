"""A SavedModel of a few sums, whose signatures have what REST rules are about."""

import tensorflow as tf


class SmallModel(tf.Module):
    """`serving_default` halves x and adds an offset; `slow` counts, then says the offset."""

    def __init__(self, offset):
        super().__init__()
        self.offset = tf.Variable(offset, dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def half(self, x):
        return {"y": 0.5 * x + self.offset}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.int32, name="pair"),
            tf.TensorSpec([None], tf.string, name="text"),
        ]
    )
    def two(self, pair, text):
        return {"sum": tf.reduce_sum(pair, axis=1), "text": text, "same_bytes": text}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def unbatched(self, x):
        return {"twice": tf.concat([x, x], axis=0), "once": x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="steps")])
    def slow(self, steps):
        _, total = tf.while_loop(
            lambda i, total: i < steps[0],
            lambda i, total: (i + 1, total + tf.math.sin(total)),
            (tf.constant(0), tf.constant(0.0)),
            parallel_iterations=1,
        )
        return {"offset": tf.fill(tf.shape(steps), self.offset + total)}


def save_small_model(folder, offset):
    """Writes the model; its folder appears once it is whole."""
    model = SmallModel(offset)
    signatures = {
        "serving_default": model.half,
        "two": model.two,
        "unbatched": model.unbatched,
        "slow": model.slow,
    }
    temporary = folder.with_name(f".unfinished-{folder.name}")
    tf.saved_model.save(model, str(temporary), signatures)
    temporary.rename(folder)
