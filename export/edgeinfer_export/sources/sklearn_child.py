"""The child that opens an estimator, converts it, and computes the reference when asked.

It says one line of JSON when it is ready (or why it is not), then answers each line ``run`` by
reading ``asked.npz`` and writing ``answer.npz`` in the folder that both know. It ends with its
input.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError, ModelFileError
from edgeinfer_export.sources.sklearn_convert import Converted, convert

# Classes of scikit-learn that hold numbers only, which skops has not put on its own list.
_HARMLESS = (
    "sklearn._loss.",
    "sklearn.ensemble._hist_gradient_boosting.",
    "sklearn.neural_network._stochastic_optimizers.",
    "sklearn.tree._tree.Tree",
)


def main() -> None:
    """Open, convert, serve."""
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    answers = sys.stdout
    sys.stdout = sys.stderr  # code in a pickle may print
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = _opened(path, sys.argv[3] == "skops", sys.argv[4] == "trust")
        made = convert(estimator, folder / "sklearn.onnx")
        notes = [*_version_notes(caught), *made.notes]
        told: dict[str, Any] = {"error": None, "spec": made.spec, "notes": notes}
        told["versions"] = _versions()
    except EdgeInferError as error:
        told = {"error": str(error)}
    _say(answers, json.dumps(told))
    if told["error"] is None:
        _serve(made, folder, answers)


def _say(stream: Any, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


def _opened(path: Path, skops: bool, trusted: bool) -> Any:
    """The estimator.

    Raises:
        ModelFileError: if it cannot be opened, or needs types that nobody allowed.
    """
    try:
        if skops:
            return _from_skops(path, trusted)
        import joblib

        return joblib.load(path)
    except ModelFileError:
        raise
    except ImportError as error:
        raise ModelFileError(
            f"it needs the module '{error.name}', which is not installed here: install it, or put "
            f"the training code on PYTHONPATH."
        ) from error
    except Exception as error:  # a pickle may raise anything
        raise ModelFileError(
            f"it cannot be opened ({type(error).__name__}: {_first(error)}): it is damaged, or "
            f"was made by a version of scikit-learn that does not fit {_versions()}."
        ) from error


def _from_skops(path: Path, trusted: bool) -> Any:
    import skops.io

    asked = skops.io.get_untrusted_types(file=path)
    unknown = [name for name in asked if not name.startswith(_HARMLESS)]
    if unknown and not trusted:
        raise ModelFileError(
            f"it holds types that are not known to be harmless: {', '.join(sorted(unknown))}. "
            f"Give --trust-pickle if you trust whoever made it."
        )
    return skops.io.load(path, trusted=asked)


def _version_notes(caught: list[warnings.WarningMessage]) -> list[str]:
    """Another version's pickle may compute something else; scikit-learn only warns."""
    messages: list[Any] = [warning.message for warning in caught]
    found = {
        f"made by scikit-learn {message.original_sklearn_version}, opened by "
        f"{message.current_sklearn_version}: the reference may differ from the original"
        for message in messages
        if hasattr(message, "original_sklearn_version")
    }
    return sorted(found)


def _versions() -> dict[str, str]:
    import skl2onnx
    import sklearn

    return {"scikit-learn": sklearn.__version__, "skl2onnx": skl2onnx.__version__}


def _serve(made: Converted, folder: Path, answers: Any) -> None:
    for line in sys.stdin:
        if line.strip() != "run":
            continue
        try:
            with np.load(folder / "asked.npz") as held:
                rows = held[held.files[0]]
            outputs: dict[str, Any] = made.reference(rows)
            np.savez(folder / "answer.npz", **outputs)
            _say(answers, "done")
        except Exception as error:  # whatever the estimator raises is the answer
            _say(answers, f"{type(error).__name__}: {_first(error)}")


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


if __name__ == "__main__":
    main()
