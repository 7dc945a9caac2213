"""The options of augmentation, apart from the code, which needs torch."""

from __future__ import annotations

from attrs import frozen, validators

from hnas.settings import at_least_0, setting


@frozen(kw_only=True)
class AugmentationOptions:
    """Options of every source of photographs, applied to training images only. 0 or false switches a part off."""

    flip: bool = setting(False, "augmentation: mirror half of the training images", validators.instance_of(bool))
    crop: int = setting(0, "augmentation: shift training images by up to so many pixels each way", at_least_0)
    rotation: float = setting(0.0, "augmentation: turn training images, degrees, uniform in ±", at_least_0)
    colour: float = setting(
        0.0, "augmentation: brightness, contrast and saturation, each times 1 ± this, uniformly", at_least_0
    )

    @property
    def augments(self) -> bool:
        """Whether anything is switched on."""
        return bool(self.flip or self.crop or self.rotation or self.colour)
