"""A model as a user opens it, stored plan included, in a process that does as it is told.

`edgeinfer.tune.worker`, with the plan in the answer to ``open`` and each frame's inference in the
answer to ``block``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from edgeinfer.tune.worker import Worker


class User(Worker):
    """Opens the model by what is stored, and tells more."""

    def _open(self, command: Mapping[str, Any]) -> dict[str, Any]:
        told = super()._open(command)
        return {**told, "plan": self.model.plan.to_dict(), "notes": list(self.model.notes)}

    def _block(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Frames one after the other, with what `Result` says of each."""
        results = [
            self.model(self._frames[index % len(self._frames)])
            for index in range(command["frames"])
        ]
        return {
            "samples": [result.latency_ns for result in results],
            "inference": [result.stages_ns["inference"] for result in results],
        }


def main() -> None:
    """Serve until stdin ends."""
    # Libraries print to stdout; the answers go where only we write.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    user = User()
    for line in sys.stdin:
        answers.write(json.dumps({"ok": True, **user.do(json.loads(line))}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
