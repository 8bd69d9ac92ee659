"""`rushlight.xpu`: says that there is no such device."""


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted: there is no device to seed."""


def empty_cache() -> None:
    """Accepted: there is no device memory to free."""
