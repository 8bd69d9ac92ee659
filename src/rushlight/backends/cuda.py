"""Switches of CUDA's libraries, which aren't here: accepted, without effect."""


class _Matmul:
    """Switches of CUDA's matrix products."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True


matmul = _Matmul()


def is_built() -> bool:
    """False."""
    return False
