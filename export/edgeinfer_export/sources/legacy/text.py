"""Protocol Buffers' text format, which Caffe describes its networks in.

Source: https://protobuf.dev/reference/protobuf/textformat-spec.
"""

from __future__ import annotations

import re

from edgeinfer.errors import ModelFileError

_TOKENS = re.compile(
    r"""(?P<skip>(?:\s|\#[^\n]*)+)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      |(?P<word>[-+]?[A-Za-z0-9_.][-+A-Za-z0-9_./]*)
      |(?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_MAX_DEPTH = 50
_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")


class Fields:
    """The fields of one message, by name, in the order of the file."""

    def __init__(self, where: str) -> None:
        """Start empty.

        Args:
            where: what it is, for error messages: ``net.prototxt``.
        """
        self.where = where
        self._values: dict[str, list[str | Fields]] = {}

    def add(self, name: str, value: str | Fields) -> None:
        """Append a value to a field."""
        self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def parts(self, name: str) -> list[Fields]:
        """A repeated field of messages."""
        found = []
        for value in self._values.get(name, ()):
            if isinstance(value, str):
                raise self._wrong(name, value, "a group in braces")
            found.append(value)
        return found

    def part(self, name: str) -> Fields:
        """A message; an empty one where the field is absent."""
        found = self.parts(name)
        return found[-1] if found else Fields(self.where)

    def words(self, name: str) -> list[str]:
        """A repeated field of texts or names of constants."""
        found = []
        for value in self._values.get(name, ()):
            if isinstance(value, Fields):
                raise self._wrong(name, "{...}", "a single value")
            found.append(value)
        return found

    def word(self, name: str, default: str = "") -> str:
        """A text or the name of a constant."""
        found = self.words(name)
        return found[-1] if found else default

    def ints(self, name: str) -> list[int]:
        """A repeated field of integers."""
        return [int(self._converted(name, word, int)) for word in self.words(name)]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer."""
        found = self.ints(name)
        return found[-1] if found else default

    def floats(self, name: str) -> list[float]:
        """A repeated field of numbers."""
        return [float(self._converted(name, word, float)) for word in self.words(name)]

    def number(self, name: str, default: float = 0.0) -> float:
        """A number."""
        found = self.floats(name)
        return found[-1] if found else default

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        word = self.word(name).lower()
        if not word:
            return default
        if word not in _TRUE + _FALSE:
            raise self._wrong(name, word, "true or false")
        return word in _TRUE

    def _converted(self, name: str, word: str, kind: type[int] | type[float]) -> int | float:
        try:
            return int(word, 0) if kind is int else float(word.removesuffix("f"))
        except ValueError:
            raise self._wrong(name, word, "an integer" if kind is int else "a number") from None

    def _wrong(self, name: str, value: str, wanted: str) -> ModelFileError:
        return ModelFileError(f"{self.where}: the field '{name}' is {value!r}, not {wanted}.")


def parse(text: str, where: str) -> Fields:
    """Read a message in text format.

    Args:
        where: what it is, for error messages.

    Raises:
        ModelFileError: naming the line that is not in this format.
    """
    return _Parser(text, where).message()


class _Parser:
    """One pass over the text, with a stack instead of recursion."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._tokens: list[tuple[str, str, int]] = []
        place = 0
        while place < len(text):
            match = _TOKENS.match(text, place)
            if match is None:
                line = text.count("\n", 0, place) + 1
                raise self._error(line, f"{text[place : place + 20].split(chr(10))[0]!r}")
            if match.lastgroup != "skip":
                self._tokens.append((match.lastgroup or "", match.group(), place))
            place = match.end()
        self._text = text
        self._next = 0

    def message(self) -> Fields:
        stack: list[tuple[Fields, str]] = [(Fields(self._where), "")]
        while True:
            kind, token = self._take()
            fields, closing = stack[-1]
            if token == closing:
                if not closing:
                    return fields
                stack.pop()
            elif kind == "word" and len(stack) <= _MAX_DEPTH:
                self._field(token, fields, stack)
            elif token not in (",", ";") or not kind:
                raise self._here(token)

    def _field(self, name: str, fields: Fields, stack: list[tuple[Fields, str]]) -> None:
        kind, token = self._take()
        colon = token == ":"
        if colon:
            kind, token = self._take()
        if token in _CLOSING:
            child = Fields(self._where)
            fields.add(name, child)
            stack.append((child, _CLOSING[token]))
        elif colon and token == "[":
            self._list(name, fields)
        elif colon and kind in ("word", "string"):
            fields.add(name, self._joined(kind, token))
        else:
            raise self._here(token)

    def _list(self, name: str, fields: Fields) -> None:
        while True:
            kind, token = self._take()
            if token == "]":
                return
            if kind in ("word", "string"):
                fields.add(name, self._joined(kind, token))
            elif token != ",":
                raise self._here(token)

    def _joined(self, kind: str, token: str) -> str:
        """A value; strings that follow each other are one."""
        if kind == "word":
            return token
        value = _unquoted(token)
        while self._next < len(self._tokens) and self._tokens[self._next][0] == "string":
            value += _unquoted(self._take()[1])
        return value

    def _take(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            self._next += 1
            return "", ""
        kind, token, _ = self._tokens[self._next]
        self._next += 1
        return kind, token

    def _here(self, token: str) -> ModelFileError:
        if self._next > len(self._tokens):
            return ModelFileError(
                f"{self._where} ends in the middle of a field or group: it is cut off. Copy or "
                f"save it again."
            )
        place = self._tokens[self._next - 1][2]
        return self._error(self._text.count("\n", 0, place) + 1, repr(token))

    def _error(self, line: int, found: str) -> ModelFileError:
        return ModelFileError(
            f"{self._where} is not in Protocol Buffers' text format: line {line} has {found} "
            f"where a field is due. Is it a network description?"
        )


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])
