"""The parent's end of the child that holds torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgeinfer import errors
from edgeinfer.child import Child
from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer.remote import Remote, WorkerFailed

_MODULE = "edgeinfer_export.sources.torch_tools.worker"
# A hang, not slowness: the biggest networks convert in a few minutes.
_TIMEOUT_S = 3600.0
# A user who set the opposite for other programs does not loosen this one.
_FORBIDDEN = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_HELD = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class Worker:
    """A child and the conversation with it; close() ends it.

    Args:
        trust_pickle: whether torch may unpickle more than tensors there.
        say: told what takes long.
    """

    def __init__(self, trust_pickle: bool, say: Callable[[str], None]) -> None:
        held = {} if trust_pickle else {_HELD: "1"}
        child = Child(
            _MODULE,
            environment={
                _FORBIDDEN: "0",
                **held,
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_OFFLINE": "1",
                "TRANSFORMERS_VERBOSITY": "error",
            },
        )
        self._say = say
        self._remote = Remote(child)

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            EdgeInferError: what the child raised.
            ModelFileError: if it died or hung.
        """
        try:
            answer = self._remote.ask(command, _TIMEOUT_S)
            while "say" in answer:
                self._say(answer["say"])
                answer = self._remote.hear(_TIMEOUT_S)
        except WorkerFailed as error:
            self.close()
            raise ModelFileError(
                f"PyTorch did not come to an end with this model ({error}): it is damaged or too "
                f"big for this box, or its code ends the process."
            ) from error
        if "raised" in answer:
            raise _raised(answer["raised"], answer["text"])
        return answer

    def close(self) -> None:
        """End the child; a second call does nothing."""
        self._remote.close()


def _raised(kind: str, text: str) -> EdgeInferError:
    found = getattr(errors, kind, ModelFileError)
    return found(text) if issubclass(found, EdgeInferError) else ModelFileError(text)
