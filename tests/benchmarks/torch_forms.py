"""The forms in PyTorch: attention, which computes the same loop, and plain autograd."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize, scaled_dot_product_attention

from tests.benchmarks.grouping_plan import Run
from tests.benchmarks.measurement import PRODUCT_SIDE


def square_product() -> Callable[[], object]:
    """Returns the product that gives the rate."""
    x = torch.randn([PRODUCT_SIDE, PRODUCT_SIDE], generator=torch.Generator().manual_seed(0))
    return lambda: x @ x


def prepare(run: Run, embedding: np.ndarray, concentration: float) -> tuple[Callable, Callable]:
    """Returns what `tensorflow_forms.prepare` returns, for the forms of this library."""
    points = torch.from_numpy(embedding)

    def forward() -> torch.Tensor:
        x = points[None, None]
        # Flash or an error: the other kernel stores N×N matrices.
        with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            for _ in range(run.num_loops):
                # κ cos and κ (cos − 1) have one softmax.
                attended = scaled_dot_product_attention(x, x, x, scale=concentration)
                x = normalize(attended, dim=-1)
        return x[0, 0]

    def gradient() -> torch.Tensor:
        leaf = points.clone().requires_grad_()
        x = leaf
        for _ in range(run.num_loops):
            kernel = torch.exp(concentration * (x @ x.T - 1.0))
            x = normalize(kernel @ x / kernel.sum(dim=1, keepdim=True), dim=-1)
        return torch.autograd.grad((x**3).sum(), leaf)[0]

    return forward if run.form.case == "forward" else gradient, lambda result: {}
