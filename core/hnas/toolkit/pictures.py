"""A task of the user's own: a few labelled pictures of each class, and how a picture becomes a network's input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from hnas.episode import Episodes
from hnas.layer import Shape
from hnas.settings import positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@frozen(kw_only=True)
class Preparation:
    """How a picture becomes an image (channels, height, width) of float32 in 0…1.

    It is stored in exported files, so that `hnas predict` repeats it. A picture is rotated by its EXIF data,
    transparent parts become white, and it becomes grey (one channel) or RGB (three) of 8 bits, by the range of its
    format. It is scaled (Lanczos) so that the shorter side fits, and cropped to the centre. Then 0 … 255 becomes
    0 … 1; with ``invert``, 1 … 0.
    """

    channels: int = field(validator=[validators.instance_of(int), validators.in_((1, 3))])
    height: int = field(validator=[validators.instance_of(int), positive])
    width: int = field(validator=[validators.instance_of(int), positive])
    invert: bool = field(validator=validators.instance_of(bool))

    @property
    def shape(self) -> Shape:
        return self.channels, self.height, self.width


@frozen(kw_only=True, eq=False)
class PictureTask:
    """One task: labelled pictures to adapt to, and perhaps more of the same classes to test with."""

    classes: tuple[str, ...]
    support: tuple[NDArray[np.float32], ...]  # for each class (one or more, C, H, W)
    query: tuple[NDArray[np.float32], ...]  # for each class (any number, C, H, W)
    digest: str
    """Changes when a picture or a class does."""

    @property
    def n_way(self) -> int:
        return len(self.classes)

    @property
    def shots(self) -> tuple[int, ...]:
        """The number of labelled pictures of each class."""
        return tuple(map(len, self.support))

    @property
    def k_shot(self) -> int:
        """The largest of `shots`."""
        return max(self.shots)

    @property
    def n_query(self) -> int:
        """The number of query pictures of all classes together."""
        return sum(map(len, self.query))

    @property
    def edge(self) -> float:
        """The mean over the edges of all classes' labelled images: above a half, drawings have a bright background."""
        edges = [(x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]) for x in self.support]
        return float(sum(part.mean() for parts in edges for part in parts) / (4 * len(edges)))

    def episodes(self) -> Episodes:
        """Return the task as a batch of one; a class with fewer labelled pictures than another repeats its own.

        So classes weigh the same, and learners get as many of each. Without query pictures the query set is empty.
        """
        import numpy as np
        import torch

        def labels(counts: Sequence[int]) -> torch.Tensor:
            return torch.arange(self.n_way).repeat_interleave(torch.tensor(counts))[None]

        return Episodes(
            support_x=torch.from_numpy(np.concatenate([x[np.arange(self.k_shot) % len(x)] for x in self.support]))[
                None
            ],
            support_y=labels([self.k_shot] * self.n_way),
            query_x=torch.from_numpy(np.concatenate(self.query))[None],
            query_y=labels([len(part) for part in self.query]),
        )
