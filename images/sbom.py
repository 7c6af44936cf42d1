"""The bill of materials of the image it runs in: CycloneDX 1.5 as JSON, on standard output.

It lists the distributions that this Python finds and the Debian packages of /var/lib/dpkg/status.
No time and no random number is in it: the same image, the same bytes.
"""

import json
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

STATUS = Path("/var/lib/dpkg/status")


def python_component(found: Distribution) -> dict[str, Any]:
    """A distribution as a component, with its licence where its metadata say one by SPDX."""
    name, version = found.metadata["Name"], found.version
    purl = f"pkg:pypi/{name.lower().replace('_', '-').replace('.', '-')}@{quote(version)}"
    licence = found.metadata.get("License-Expression")
    return _component(name, version, purl) | (
        {"licenses": [{"expression": licence}]} if licence else {}
    )


def debian_components(status: str) -> list[dict[str, Any]]:
    """The packages that a status file says are installed."""
    made = []
    for paragraph in status.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if ": " in line and line[0] != " "
        )
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            made.append(_component(name, version, purl))
    return made


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main() -> None:
    """Print it."""
    components = [python_component(found) for found in distributions()]
    if STATUS.exists():
        components += debian_components(STATUS.read_text(encoding="utf-8"))
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "image", "name": "tally"}},
        "components": sorted(components, key=lambda one: str(one["purl"])),
    }
    json.dump(whole, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
