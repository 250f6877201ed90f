"""Whether the instances of a data set can be a margin apart at all (Prop. 2)."""

from rpe_tf.core.sphere import smallest_margin


def margin_warning(loss: dict, embedding_dim: int, most_instances: int | None) -> str | None:
    """Returns what to say of a margin that cannot be met, None where there is nothing to say.

    Args:
      loss: the settings of the loss.
      embedding_dim: D ≥ 2.
      most_instances: of a picture, None if unknown; 1 for boundaries: boundary and not.
    """
    if loss["radius"] is not None or loss.get("embedding_weight") == 0 or most_instances is None:
        return None  # Only neighbours need differ, nothing is learned of it, or nobody knows.
    num_groups = max(1, most_instances + (not loss["foreground_only"]))
    feasible = smallest_margin(num_groups, embedding_dim)
    if loss["margin"] >= feasible:
        return None
    return (
        f"--margin={loss['margin']:g} cannot be met: {num_groups} groups (a background included) "
        f"in --embedding_dim={embedding_dim} need at least {feasible:.4f}. Raise one of the two, "
        "or accept a loss above 0."
    )
