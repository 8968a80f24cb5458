"""What a network is, in one value: enough to build it, for training and for prediction alike."""

from dataclasses import dataclass

from acinus.params.recipe import Task


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network of `classes` outputs per patch or, for segmentation, per px.

    name: a timm network, or an smp architecture that stands on the timm network `encoder`.
    weights: none, imagenet (timm's own), package (EfficientNet-Lite0) or the path of a .safetensors file.
    head_units, dropout, freeze: for patch classification only; a hidden layer before the last one, the
    share of its inputs that is dropped in training, and whether everything below stays as it was loaded.
    members: so many such networks as one (`ensemble`).
    """

    task: Task
    name: str
    classes: int
    encoder: str | None = None
    weights: str = "none"
    head_units: int | None = None
    dropout: float = 0.0
    freeze: bool = False
    members: int = 1

    @property
    def backbone(self) -> str:
        """Return the timm name of the network whose weights and normalisation are meant."""
        return self.encoder or self.name

    @property
    def backbone_key(self) -> str:
        """Return the recipe's key that names the backbone."""
        return "train.encoder" if self.encoder else "train.model"
