"""The cheap check of a super-net: its files are there, and are those that its descriptor names."""

from __future__ import annotations

from hnas.discovery import Registered
from hnas.errors import HnasError
from hnas_app.plugin_tools.interface_checks import Seen
from hnas_app.supernets.files import PARTS, content, descriptor_of, is_remote, missing


def check_supernet(registered: Registered) -> Seen:
    """Verify every file that is here; those still to be fetched are passed over with a warning."""
    found = descriptor_of(registered)
    lacking = missing(registered)
    for part, what in PARTS.items():
        file = getattr(found, part)
        if part in lacking and is_remote(file):
            yield "warning", f"the {what} is not here, so it was not tried: hnas supernets fetch {found.name}"
            continue
        try:
            content(registered, part)
        except HnasError as cause:
            yield "failed", f"{cause} ({cause.hint})"
        else:
            yield "ok", f"{what}: {file.size:,} bytes, with the checksum of its descriptor"
    if "not stated" in found.licence:
        yield "warning", f"its licence is {found.licence!r}"
