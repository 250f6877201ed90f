"""SavedModels for tests of serving, made at once: a few sums, and maps of colours."""

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


class ColourMaps(tf.Module):
    """What a boundary or a semantic model serves: the mean of the colours, or the brightest."""

    def __init__(self, name):
        super().__init__()
        self.map_name = name

    def _map(self, image):
        if self.map_name == "boundary":
            return tf.reduce_mean(tf.cast(image, tf.float32), axis=-1) / 255.0
        return tf.argmax(image, axis=-1, output_type=tf.int32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")])
    def pixels(self, image):
        return {self.map_name: self._map(image)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def encoded(self, image_bytes):
        def png_of(content):
            found = self._map(tf.io.decode_png(content, channels=3))
            scale = 255.0 if self.map_name == "boundary" else 1.0
            samples = tf.round(scale * tf.cast(found, tf.float32))
            return tf.io.encode_png(tf.cast(samples, tf.uint8)[:, :, tf.newaxis])

        pngs = tf.map_fn(png_of, image_bytes)
        return {f"{self.map_name}_bytes": pngs, "number": tf.range(tf.size(image_bytes))}


def save_colour_maps(folder, name):
    """Writes a model whose map is called boundary or semantic."""
    model = ColourMaps(name)
    signatures = {"serving_default": model.pixels, "serving_bytes": model.encoded}
    tf.saved_model.save(model, str(folder), signatures)
