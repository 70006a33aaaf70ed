"""Which onnxruntime distributions are installed: they share one folder and overwrite each other."""

from __future__ import annotations

# What installs `onnxruntime/` itself; plugin wheels have folders of their own.
_PLUGINS = ("onnxruntime-ep-", "onnxruntime-qnn", "onnxruntime-extensions", "onnxruntime-genai")


def runtimes() -> dict[str, str]:
    """Name to version of every installed distribution that fills the folder `onnxruntime`."""
    from importlib import metadata

    found = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if not name.startswith("onnxruntime") or name.startswith(_PLUGINS):
            continue
        files = distribution.files
        if files is None or any(file.parts[:1] == ("onnxruntime",) for file in files):
            found[name] = distribution.version
    return found


def mixed_up() -> str | None:
    """What to do where several of them lie over one another, or None."""
    found = runtimes()
    if len(found) < 2:
        return None
    listed = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    return (
        f"{listed} are installed over one another, and the last one wins: pip uninstall -y "
        f"{' '.join(sorted(found))}, then install the one that is wanted"
    )


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
