"""`torchvision.models`: classifiers with torchvision's names of parameters, so that its files of weights load."""

from typing import Any

from rushlight.vision.models.alexnet import AlexNet as AlexNet
from rushlight.vision.models.alexnet import alexnet as alexnet
from rushlight.vision.models.densenet import (
    DenseNet as DenseNet,
)
from rushlight.vision.models.densenet import (
    densenet121 as densenet121,
)
from rushlight.vision.models.densenet import (
    densenet161 as densenet161,
)
from rushlight.vision.models.densenet import (
    densenet169 as densenet169,
)
from rushlight.vision.models.densenet import (
    densenet201 as densenet201,
)
from rushlight.vision.models.efficientnet import (
    EfficientNet as EfficientNet,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b0 as efficientnet_b0,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b1 as efficientnet_b1,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b2 as efficientnet_b2,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b3 as efficientnet_b3,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b4 as efficientnet_b4,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b5 as efficientnet_b5,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b6 as efficientnet_b6,
)
from rushlight.vision.models.efficientnet import (
    efficientnet_b7 as efficientnet_b7,
)
from rushlight.vision.models.mobilenet import MobileNetV2 as MobileNetV2
from rushlight.vision.models.mobilenet import mobilenet_v2 as mobilenet_v2
from rushlight.vision.models.resnet import (
    ResNet as ResNet,
)
from rushlight.vision.models.resnet import (
    resnet18 as resnet18,
)
from rushlight.vision.models.resnet import (
    resnet34 as resnet34,
)
from rushlight.vision.models.resnet import (
    resnet50 as resnet50,
)
from rushlight.vision.models.resnet import (
    resnet101 as resnet101,
)
from rushlight.vision.models.resnet import (
    resnet152 as resnet152,
)
from rushlight.vision.models.resnet import (
    resnext50_32x4d as resnext50_32x4d,
)
from rushlight.vision.models.resnet import (
    resnext101_32x8d as resnext101_32x8d,
)
from rushlight.vision.models.resnet import (
    wide_resnet50_2 as wide_resnet50_2,
)
from rushlight.vision.models.resnet import (
    wide_resnet101_2 as wide_resnet101_2,
)
from rushlight.vision.models.squeezenet import (
    SqueezeNet as SqueezeNet,
)
from rushlight.vision.models.squeezenet import (
    squeezenet1_0 as squeezenet1_0,
)
from rushlight.vision.models.squeezenet import (
    squeezenet1_1 as squeezenet1_1,
)
from rushlight.vision.models.vgg import (
    VGG as VGG,
)
from rushlight.vision.models.vgg import (
    vgg11 as vgg11,
)
from rushlight.vision.models.vgg import (
    vgg11_bn as vgg11_bn,
)
from rushlight.vision.models.vgg import (
    vgg13 as vgg13,
)
from rushlight.vision.models.vgg import (
    vgg13_bn as vgg13_bn,
)
from rushlight.vision.models.vgg import (
    vgg16 as vgg16,
)
from rushlight.vision.models.vgg import (
    vgg16_bn as vgg16_bn,
)
from rushlight.vision.models.vgg import (
    vgg19 as vgg19,
)
from rushlight.vision.models.vgg import (
    vgg19_bn as vgg19_bn,
)
from rushlight.vision.models.weights import (
    BUILDERS as _BUILDERS,
)
from rushlight.vision.models.weights import (
    WEIGHTS as _WEIGHTS,
)
from rushlight.vision.models.weights import (
    Weights as Weights,
)
from rushlight.vision.models.weights import (
    WeightsEnum as WeightsEnum,
)
from rushlight.vision.models.weights import (
    get_model as get_model,
)
from rushlight.vision.models.weights import (
    get_model_builder as get_model_builder,
)
from rushlight.vision.models.weights import (
    get_model_weights as get_model_weights,
)
from rushlight.vision.models.weights import (
    get_weight as get_weight,
)
from rushlight.vision.models.weights import (
    list_models as list_models,
)
from rushlight.vision.naming import missing


def __getattr__(name: str) -> Any:
    if name in _WEIGHTS:
        return _WEIGHTS[name]
    raise missing(__name__, name, [*_BUILDERS, "<model>_Weights for each"])
