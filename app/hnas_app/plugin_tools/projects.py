"""Projects that `hnas plugins new` writes: a distribution with a small plugin that works, to be replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from attrs import field, frozen

import hnas
from hnas.discovery import API, HOOK, Kind
from hnas.errors import ConfigError
from hnas_app.plugin_tools.check import PREFIX

if TYPE_CHECKING:
    from hnas_app.supernets.packing import Packed

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_ABOUT: dict[Kind, tuple[str, str, str]] = {
    "space": ("search space", "three convolutions, each with a kernel and a width to choose", "hnas spaces show $name"),
    "learner": ("meta-learner", "first-order MAML with a plain outer step", "hnas config show --learner $name"),
    "backend": ("hardware backend", "a roofline model of a device that does not exist", "hnas profile --backend $name"),
    "strategy": ("search strategy", "regularised evolution", "hnas config show --strategy $name"),
    "tasks": ("task source", "blobs drawn by numpy, without any data", "hnas data check $name"),
    "supernet": ("super-net", "a super-net that is trained already", "hnas supernets show $name"),
    "tracker": ("tracker", "losses and accuracies of every step, as CSV", "hnas run --preset quick --log $name"),
}
"""What each kind is called, what the plugin is, and a command that tries it."""

_OPTIONS: dict[Kind, str] = {"learner": "options:Options", "backend": "backend:$cls.Options"}
"""Where in the package the options class is, if it is not beside the implementation."""

_PLACE = {
    "gitignore": ".gitignore",
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "hooks.py": "src/$package/__init__.py",
    "test.py": "tests/test_$module.py",
}
"""Where a template's file goes; all others go into the package."""


def _plain(name: str) -> str:
    return name.strip().replace("_", "-")


@frozen(kw_only=True)
class Project:
    """The project of a plugin ``name`` of a kind. Underscores of the name become dashes. Raises `ConfigError`."""

    kind: Kind
    name: str = field(converter=_plain)
    packed: Packed | None = None
    """The files of a super-net; other kinds have none."""

    def __attrs_post_init__(self) -> None:
        prefix, told = PREFIX[self.kind], f"{self.kind} name {self.name!r}"
        if self.name.startswith(prefix):
            raise ConfigError(
                f"{told} begins as its distribution will", hint=f"write {self.name.removeprefix(prefix)!r}"
            )
        if not _NAME.fullmatch(self.name) or len(self.name) > _LONGEST:
            wanted = f"lower-case letters, digits and single dashes, a letter first, at most {_LONGEST}"
            close = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-0123456789")[:_LONGEST]
            hint = f"such as {close!r}" if _NAME.fullmatch(close) else None
            raise ConfigError(f"{told}: expected {wanted}", hint=hint)
        if self.class_name in hnas.__all__:
            raise ConfigError(f"{told}: its class would be called {self.class_name}, as the interface is")

    @property
    def distribution(self) -> str:
        """The distribution, and by default the folder: ``hnas-backend-my-board``."""
        return PREFIX[self.kind] + self.name

    @property
    def package(self) -> str:
        """The import package: ``hnas_backend_my_board``."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The class: ``MyBoardBackend``."""
        camel = "".join(part[0].upper() + part[1:] for part in self.name.split("-"))
        return camel.removesuffix(self.kind.title()) + self.kind.title()

    def files(self) -> Mapping[str, str | bytes]:
        """Return the content of every file by its path in the project, sorted."""
        names = {
            "kind": self.kind,
            "name": self.name,
            "project": self.distribution,
            "prefix": PREFIX[self.kind],
            "package": self.package,
            "module": self.kind,
            "cls": self.class_name,
            "tested": ", ".join(sorted((self.class_name, "Options"))),
            "hook": HOOK[self.kind],
            "hnas": hnas.__version__,
            "api": str(API),
        }
        needs = self.packed.requires if self.packed else ()
        names["dependencies"] = ", ".join(f'"{need}"' for need in (f"hnas>={hnas.__version__}", *needs))
        names |= self.packed.values() if self.packed else {}
        about = (*_ABOUT[self.kind], _OPTIONS.get(self.kind, "$kind:Options"))
        keys = ("what", "summary", "try_it", "options")
        names |= {key: Template(text).substitute(names) for key, text in zip(keys, about, strict=True)}
        rendered: dict[str, str | bytes] = {}
        for folder in ("common", self.kind):
            for template in (files("hnas_app.plugin_tools") / "templates" / folder).iterdir():
                name = template.name.removesuffix(".template")
                place = Template(_PLACE.get(name, f"src/$package/{name}")).substitute(names)
                rendered[place] = Template(template.read_text(encoding="utf-8")).substitute(names)
        if self.packed:
            content = {"weights.safetensors": self.packed.weights, "config.toml": self.packed.config}
            content["card.md"] = self.packed.card
            rendered |= {f"src/{self.package}/{name}": found for name, found in content.items()}
        return dict(sorted(rendered.items()))

    def write(self, folder: Path) -> list[Path]:
        """Write the project into a folder that is not there yet, or is empty. Raises `ConfigError`; nothing is lost."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                f"{folder} is there already, and nothing in it is overwritten", hint="choose another --out"
            )
        written = []
        try:
            for place, found in self.files().items():
                path = folder / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(found if isinstance(found, bytes) else found.encode())
                written.append(path)
        except OSError as cause:
            raise ConfigError(f"cannot write {folder}: {cause}", hint="choose another --out") from cause
        return written
