"""torchvision beside rushlight.vision; tests that need it skip where it can't be imported."""

import pytest

torch = pytest.importorskip("torch")


def _import():
    """torchvision, also with a PyTorch that its C++ part isn't built for: nothing here needs that part."""
    try:
        import torchvision
    except (ImportError, OSError):
        pytest.skip("torchvision isn't installed", allow_module_level=True)
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision._library = library  # what is defined ends with it
    import torchvision.transforms.v2  # noqa: F401

    return torchvision


torchvision = _import()
