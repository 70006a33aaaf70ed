"""Environments of their own, for frameworks that must not enter the user's.

    toolrooms/                   in the cache folder
    ├── NAME-HASH-RANDOM/        a room: a virtual environment; finished once `ready.json` is in it
    └── NAME.lock                held by who builds it; the kernel lets go when the builder dies

A room is built on first use from pinned versions, and used from then on by a child process: the
framework never comes into this one. The hash is taken of everything that the room is made from.

    room = open_room("tensorflow", request.say)
    answer = room.run(SCRIPT, {"path": str(path)})              # once
    reference = room.reference(SCRIPT, {...}, outputs, folder)  # again and again: a `Reference`

SCRIPT is a file of ours that runs there, on old Pythons too: see `inside/roomkit.py`.
"""

from __future__ import annotations

from edgeinfer_export.toolrooms.build import open_room
from edgeinfer_export.toolrooms.room import Room, RoomReference
from edgeinfer_export.toolrooms.table import ROOMS, RoomSpec

__all__ = ["ROOMS", "Room", "RoomReference", "RoomSpec", "open_room"]
