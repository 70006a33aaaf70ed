"""What of a source's text may stand in files that are handed on: no user, no password, no token."""

from __future__ import annotations

import re

# Scheme, user and password, host and path, query: as RFC 3986 has them.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s/?#\"']*@)?([^\s?#\"']*)([?#][^\s\"']*)?", re.I)
# Properties of GStreamer's elements: user-id, user-pw, passphrase, ...
_PROPERTY = re.compile(r"([\w-]*(?:user|pass|pw|token|secret|key)[\w-]*=)(\"[^\"]*\"|\S+)", re.I)


def public_source(text: str) -> str:
    """The text of a source without what opens a stream to anybody who reads it.

    Args:
        text: what `open_source` takes; a path comes back as it is.
    """
    if "://" in text:
        text = _ADDRESS.sub(r"\1\3", text)
    return _PROPERTY.sub(r"\1...", text) if text.startswith("gst:") else text
