"""Connected components of a label map, in ops that other runtimes have.

Rows are cut into runs of equal labels; runs that touch are the edges of a graph. In every round
each root hooks itself below the smallest root it has an edge with, pointers are then halved until
all runs point at their root, and edges within one tree are dropped. A spiral of any length is
through after a few rounds, as pointers double what they span.
"""

import tensorflow as tf

CONNECTIVITIES = (4, 8)


def connected_components(label: tf.Tensor, connectivity: int = 4) -> tf.Tensor:
    """Returns a map in which every connected region of one label > 0 has an id of its own.

    Args:
      label: [H, W] int32; pixels ≤ 0 belong to no region.
      connectivity: 4: pixels that share a side are connected; 8: those that share a corner too.

    Returns:
      [H, W] int32, ids 1.. in the order of the regions' first pixels row by row; 0 where label ≤ 0.
      Memory linear in H·W.

    Raises:
      ValueError: if connectivity is neither 4 nor 8.
    """
    if connectivity not in CONNECTIVITIES:
        raise ValueError(f"connectivity must be one of {CONNECTIVITIES}, got {connectivity}")
    is_labelled = label > 0
    # Not padded, which converters do with numbers alone.
    first = tf.ones_like(label[:, :1], tf.bool)
    starts = tf.concat([first, label[:, 1:] != label[:, :-1]], axis=1)
    run = tf.reshape(tf.cumsum(tf.reshape(tf.cast(starts, tf.int32), [-1])) - 1, tf.shape(label))
    labelled_run = tf.boolean_mask(is_labelled, starts)
    upper, lower = _edges(label, run, starts, connectivity)
    root = _roots(upper, lower, tf.size(labelled_run))
    # A root is the smallest run of its tree, so that counting roots numbers the regions.
    is_root = labelled_run & (root == tf.range(tf.size(root)))
    number = tf.cumsum(tf.cast(is_root, tf.int32))
    component = tf.gather(tf.gather(number, root), run)
    return tf.where(is_labelled, component, tf.zeros_like(component))


def _edges(
    label: tf.Tensor, run: tf.Tensor, starts: tf.Tensor, connectivity: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the runs [E] of one row and those [E] of the next row that they touch."""
    above, below = label[:-1], label[1:]
    is_same = (above == below) & (above > 0)
    # Once for each two runs: where the first of their common columns is.
    pairs = [(run[:-1], run[1:], is_same & (starts[:-1] | starts[1:]))]
    if connectivity == 8:
        # Two of a diagonal, unless one of the other two connects them already.
        up_left, up_right = above[:, :-1], above[:, 1:]
        down_left, down_right = below[:, :-1], below[:, 1:]
        falls = (up_left == down_right) & (up_left > 0)
        falls &= (up_right != up_left) & (down_left != up_left)
        rises = (up_right == down_left) & (up_right > 0)
        rises &= (up_left != up_right) & (down_right != up_right)
        pairs.append((run[:-1, :-1], run[1:, 1:], falls))
        pairs.append((run[:-1, 1:], run[1:, :-1], rises))
    upper = [tf.boolean_mask(first, is_edge) for first, _, is_edge in pairs]
    lower = [tf.boolean_mask(second, is_edge) for _, second, is_edge in pairs]
    return tf.concat(upper, axis=0), tf.concat(lower, axis=0)


def _roots(first: tf.Tensor, second: tf.Tensor, num: tf.Tensor) -> tf.Tensor:
    """Returns the smallest node [num] int32 that each node is connected with, edges [E], [E]."""

    def one_round(
        root: tf.Tensor, first: tf.Tensor, second: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        small, large = tf.minimum(first, second), tf.maximum(first, second)
        # The smallest last, to be the one that stays of several written to one root. Another one
        # would be as right, in more rounds: each is smaller than the root, and nothing is lost, as
        # edges that still join two trees are kept.
        order = tf.argsort(small, direction="DESCENDING")
        hooked = tf.tensor_scatter_nd_update(
            root, tf.gather(large, order)[:, tf.newaxis], tf.gather(small, order)
        )
        root = _flatten(hooked)
        first, second = tf.gather(root, first), tf.gather(root, second)
        is_open = first != second
        return root, tf.boolean_mask(first, is_open), tf.boolean_mask(second, is_open)

    root, _, _ = tf.while_loop(
        lambda root, first, second: tf.size(first) > 0,
        one_round,
        (tf.range(num), first, second),
        shape_invariants=(tf.TensorShape([None]),) * 3,
    )
    return root


def _flatten(parent: tf.Tensor) -> tf.Tensor:
    """Returns the root [N] of each node, given the parent [N] of each; a root is its own parent."""

    def halve(parent: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        grandparent = tf.gather(parent, parent)
        return grandparent, tf.reduce_any(grandparent != parent)

    root, _ = tf.while_loop(
        lambda _, has_moved: has_moved,
        halve,
        (parent, tf.constant(True)),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([])),
    )
    return root
