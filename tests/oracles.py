"""Slow, obvious float64 loops: what the tensor code must equal."""

import math

import numpy as np


def similarity(a, b):
    """Eq. 1, entry by entry."""
    return np.array(
        [[0.5 * (1.0 + sum(x * y for x, y in zip(p, q, strict=True))) for q in b] for p in a]
    )


def pair_loss(
    embedding,
    instance,
    margin,
    normalizer="groups",
    positive_weight=1.0,
    position=None,
    radius=math.inf,
    instance_weights=True,
):
    """Eq. 2, pair by pair."""
    embedding, instance = np.asarray(embedding, np.float64), np.asarray(instance)
    position = np.zeros([len(instance), 2]) if position is None else position
    used = [i for i in range(len(instance)) if instance[i] >= 0]
    size = {y: sum(1 for i in used if instance[i] == y) for y in instance[used]}
    if not instance_weights:
        size = dict.fromkeys(size, 1)
    s = similarity(embedding, embedding)
    sums = {"positive": 0.0, "negative": 0.0}
    weights = {"all": 0.0, "positive": 0.0, "negative": 0.0}
    for i in used:
        for j in used:
            w = 1.0 / size[instance[i]] / size[instance[j]]
            weights["all"] += w
            if instance[i] == instance[j]:
                sums["positive"] += w * positive_weight * (1.0 - s[i, j])
                weights["positive"] += w
            elif math.dist(position[i], position[j]) <= radius:
                sums["negative"] += w * max(0.0, s[i, j] - margin)
                weights["negative"] += w
    if normalizer == "pairs":
        return 0.5 * sum(sums[k] / weights[k] if weights[k] else 0.0 for k in sums)
    scale = weights["all"] if normalizer == "groups" else len(used)
    return sum(sums.values()) / scale if scale else 0.0


def mean_shift(embedding, concentration, num_loops, step_size=1.0, weight=None, stay=None):
    """Eq. 3, point by point; `stay` marks points that do not move."""
    x = np.array(embedding, np.float64)
    n = len(x)
    weight = np.ones(n) if weight is None else np.asarray(weight, np.float64)
    stay = np.zeros(n, bool) if stay is None else np.asarray(stay)
    for _ in range(num_loops):
        moved = x.copy()
        for j in range(n):
            if stay[j]:
                continue
            kernel = [weight[i] * math.exp(concentration * (x[i] @ x[j] - 1.0)) for i in range(n)]
            mean = sum(kernel[i] * x[i] for i in range(n)) / sum(kernel)
            y = (1.0 - step_size) * x[j] + step_size * mean
            length = math.sqrt(y @ y)
            moved[j] = y / length if length > 1e-12 else 0.0 * y
        x = moved
    return x


def logistic_loss(logit, label):
    """Class-balanced logistic loss of one picture, pixel by pixel."""
    total = 0.0
    for value in (0, 1):
        losses = []
        for x, y in zip(logit, label, strict=True):
            if y == value:
                probability = 1.0 / (1.0 + math.exp(-x))
                losses.append(-math.log(probability if y == 1 else 1.0 - probability))
        total += 0.5 * sum(losses) / len(losses) if losses else 0.0
    return total
