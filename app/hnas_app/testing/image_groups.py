"""Which images belong to one class, as far as labels show: images that shared a label once, and all that follows."""

from __future__ import annotations

from hnas.episode import Episodes


class ImageGroups:
    """Joins images into groups: two are in one if a task gave them the same label, or both were joined to a third.

    Images are identified by their bytes. If each is drawn anew, none is ever seen twice, and nothing is joined.
    """

    def __init__(self) -> None:
        self._parents: dict[bytes, bytes] = {}

    @property
    def images(self) -> set[bytes]:
        return set(self._parents)

    def add(self, episodes: Episodes) -> None:
        """Join the images of each label of each task."""
        for task in tasks(episodes):
            for images in task.values():
                for image in images:
                    self._parents.setdefault(image, image)
                    self._parents[self.group(image)] = self.group(images[0])

    def group(self, image: bytes) -> bytes:
        """Return the image that stands for the group of an image."""
        while (parent := self._parents[image]) != image:
            self._parents[image] = self._parents[parent]
            image = parent
        return image


def tasks(episodes: Episodes) -> list[dict[int, list[bytes]]]:
    """Return the images of each label, as bytes, task by task: support images first."""
    found = []
    for t in range(len(episodes)):
        images: dict[int, list[bytes]] = {}
        for x, y in ((episodes.support_x, episodes.support_y), (episodes.query_x, episodes.query_y)):
            for image, label in zip(x[t], y[t].tolist(), strict=True):
                images.setdefault(label, []).append(image.contiguous().numpy().tobytes())
        found.append(images)
    return found
