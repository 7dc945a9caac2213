"""A network as a user writes it: ``kernel1=3,width1=8``, the name of a reference network, or genes as JSON."""

from __future__ import annotations

import json

from hnas.architecture import Architecture
from hnas.errors import ConfigError, short
from hnas.space import SearchSpace
from hnas.toolkit.codec import from_json
from hnas.toolkit.files import parse_json
from hnas_app.config.values import parse_text


def read_network(space: SearchSpace, text: str, where: str = "--arch") -> Architecture:
    """Return the architecture that a text means; choices left out take their first option.

    Raises `ConfigError` for a text that is none, or a network that is not in the space.
    """
    if text.lstrip().startswith(("{", "[")):
        try:
            genes = parse_json(text)
        except ValueError as cause:
            raise ConfigError(f"{where} {short(text)} is not JSON: {cause}") from cause
        value = {"space": space.name, "genes": genes} if isinstance(genes, list) else genes
        found = from_json(value, Architecture, where, hint="`hnas spaces` shows the choices of each space")
        space.check(found)
        return space.canonical(found)
    if "=" in text:
        pairs = [part.partition("=") for part in text.split(",")]
        return space.architecture(**{k.strip(): parse_text(v.strip()) for k, _, v in pairs})
    reference = space.reference(text)
    assert reference is not None, "a name is either known or refused"
    return reference


def network_text(arch: Architecture) -> str:
    """Return a text that `read_network` reads, whatever the choices are called."""
    return json.dumps(list(arch.genes))
