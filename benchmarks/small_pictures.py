"""Cut a folder of 32×32 pictures from Mini-ImageNet's archives, for `wins.py folder`.

    python benchmarks/small_pictures.py ~/data/mini-imagenet ~/data/small-pictures

Classes are folders, with the first 200 pictures of each; `folder` divides the classes itself.
"""

from __future__ import annotations

import argparse
import collections
import tarfile
from pathlib import Path

from PIL import Image

SIDE = 32
PICTURES = 200


def cut(archives: Path, folder: Path, pictures: int = PICTURES) -> int:
    """Write the pictures of all three archives, and return how many there are."""
    taken: collections.Counter[str] = collections.Counter()
    for split in ("train", "val", "test"):
        with tarfile.open(archives / f"mini-imagenet-{split}.tar.xz", "r|xz") as tar:
            for member in tar:
                name, file = Path(member.name), tar.extractfile(member)
                if file is None or taken[name.parent.name] == pictures:
                    continue
                taken[name.parent.name] += 1
                target = folder / name.parent.name / f"{name.stem}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX).save(target)
    return taken.total()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, help="folder with the three archives")
    parser.add_argument("folder", type=Path, help="to write")
    options = parser.parse_args()
    print(f"{cut(options.archives, options.folder)} pictures in {options.folder}")
