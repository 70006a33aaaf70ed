"""Protocol Buffers without generated code: what is read, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgeinfer.errors import ModelFileError
from edgeinfer_export.sources.legacy.text import parse
from edgeinfer_export.sources.legacy.wire import Message


def test_fields_are_read_by_number_whatever_their_order(wire: SimpleNamespace) -> None:
    data = wire.tagged(3, "name") + wire.tagged(1, 300) + wire.tagged(1, -2) + wire.tagged(9, 0.5)
    message = Message(data, "m")
    assert message.ints(1) == [300, -2]
    assert message.string(3) == "name"
    assert message.number(9) == 0.5
    assert message.integer(7, 4) == 4
    assert 3 in message
    assert 4 not in message


def test_numbers_may_be_packed_or_not(wire: SimpleNamespace) -> None:
    packed = Message(wire.tagged(5, np.array([1, 2], "<f4").tobytes()), "m")
    single = Message(wire.tagged(5, 1.0) + wire.tagged(5, 2.0), "m")
    assert packed.floats(5).tolist() == single.floats(5).tolist() == [1, 2]
    integers = Message(wire.tagged(5, wire.varint(7) + wire.varint(300)), "m")
    assert integers.ints(5) == [7, 300]


def test_every_cut_of_a_message_is_refused_or_shorter(wire: SimpleNamespace) -> None:
    data = wire.tagged(1, "abcdef") + wire.tagged(2, 1.0) + wire.tagged(3, wire.tagged(1, 5))
    whole = Message(data, "m").numbers
    assert whole == {1, 2, 3}
    complete = (0, 8, 13)
    for end in range(len(data)):
        if end in complete:
            assert Message(data[:end], "m").numbers < whole
            continue
        with pytest.raises(ModelFileError, match="m is cut off or damaged"):
            Message(data[:end], "m")


@pytest.mark.parametrize("data", [b"\x03\x01", b"\x0a\xff", b"\x00", b"\xff" * 20])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError, match="m is cut off or damaged"):
        Message(data, "m")


def test_a_field_of_another_type_is_refused(wire: SimpleNamespace) -> None:
    with pytest.raises(ModelFileError, match="its field 1 has another type"):
        Message(wire.tagged(1, 5), "m").string(1)
    with pytest.raises(ModelFileError, match="its field 1 has another type"):
        Message(wire.tagged(1, b"12345"), "m").floats(1)


def test_text_is_read_with_comments_lists_and_both_kinds_of_braces() -> None:
    found = parse(
        """
        name: "two " 'parts'  # a comment
        layer { type: Conv, pad: 1; scale: .5f on: true dims: [1, 2, 3] }
        layer < type: 'a \\"quoted\\" b' inner: { deep: -1e-3 } >
        """,
        "net",
    )
    assert found.word("name") == "two parts"
    first, second = found.parts("layer")
    assert (first.word("type"), first.integer("pad"), first.number("scale")) == ("Conv", 1, 0.5)
    assert first.flag("on")
    assert first.ints("dims") == [1, 2, 3]
    assert second.word("type") == 'a "quoted" b'
    assert second.part("inner").number("deep") == -1e-3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("layer {\n name: 'a'\n", "it is cut off"),
        ("layer {\n name: \n}", "line 3"),
        ("layer\n{ } }", "line 2"),
        ("<html>", "line 1"),
        ("a: 1\nb: \x07", "line 2"),
        ("a {" * 100, "line 1"),
    ],
)
def test_text_that_is_damaged_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        parse(text, "net")


def test_values_of_another_kind_are_named() -> None:
    found = parse("pad: wide on: maybe part: 1 group { }", "net")
    for read in (
        lambda: found.integer("pad"),
        lambda: found.number("pad"),
        lambda: found.flag("on"),
        lambda: found.part("part"),
        lambda: found.word("group"),
    ):
        with pytest.raises(ModelFileError, match="net: the field '(pad|on|part|group)' is"):
            read()
