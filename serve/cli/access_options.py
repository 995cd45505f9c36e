"""Who may ask the server, as options of `roadshift serve`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from roadshift import UserError
from serve.models.api_keys import ApiKeys, read_keys


@dataclass(frozen=True, kw_only=True)
class AccessOptions:
    """Names and keys that are answered to."""

    allow_host: tuple[str, ...] = ()
    """A name (a Host header) that is answered to beside localhost, as a proxy may send; with it no
    other is, on any address."""
    api_key_file: Path | None = None
    """A file with a key in each line: who sends none of them (Authorization: Bearer KEY) is
    refused."""
    no_key: Annotated[bool, Parameter(negative="")] = False
    """Lets everybody in who reaches a --host beyond this machine."""

    def keys(self, host: str) -> ApiKeys | None:
        """The keys that are asked for on that address, or None; UserError where one must be."""
        if self.api_key_file is not None and self.no_key:
            raise UserError("--api-key-file and --no-key exclude each other: leave one out")
        if self.api_key_file is not None:
            return read_keys(self.api_key_file)
        if not self.no_key and not _is_this_machine(host):
            raise UserError(
                f"--host {host} lets other machines in: name a file with a key in it "
                "(--api-key-file), or say --no-key if whoever reaches it may use it"
            )
        return None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
