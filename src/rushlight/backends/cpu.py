"""What the CPU can do."""


def get_cpu_capability() -> str:
    """The instruction set that the kernels run on, in PyTorch's words: AVX512, AVX2 or DEFAULT."""
    from rushlight import core

    isa = "" if core.native is None else str(core.native.isa)
    return isa.upper() if isa.startswith("avx") else "DEFAULT"
