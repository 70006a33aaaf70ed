"""Frozen dataclasses of our own are those of the standard library, only made later."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import threading
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Any

import pytest

import edgeinfer
from edgeinfer.records import dataclass


@dataclass(frozen=True)
class Point:
    """A place."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list, compare=False)
    secret: str = field(default="s", repr=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(f"x is {self.x}")


@dataclass(frozen=True)
class Named(Point):
    """A place with a name."""

    name: str = "origin"


@dataclasses.dataclass(frozen=True)
class StandardPoint:
    """The same by the standard library."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list, compare=False)
    secret: str = field(default="s", repr=False)


def _all_records() -> Iterator[type]:
    for found in pkgutil.walk_packages(edgeinfer.__path__, "edgeinfer."):
        if "vet_child" in found.name or found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == found.name
            if own and dataclasses.is_dataclass(value):
                yield value


def test_a_record_takes_shows_compares_and_hashes_as_a_standard_one() -> None:
    ours, theirs = Point(1, tags=["a"]), StandardPoint(1, tags=["a"])
    assert repr(ours) == repr(theirs).replace("StandardPoint", "Point")
    assert asdict(ours) == asdict(theirs)
    assert Point.__match_args__ == StandardPoint.__match_args__
    assert hash(ours) == hash(theirs)
    assert ours == Point(1, tags=["b"]) and ours != Point(3) and ours != theirs
    assert replace(ours, y=5) == Point(1, 5)
    assert Point(1).tags is not Point(1).tags


def test_a_record_is_checked_by_its_constructor_and_never_changes() -> None:
    with pytest.raises(ValueError, match="x is -1"):
        Point(-1)
    point = Point(1)
    with pytest.raises(FrozenInstanceError, match="x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="x"):
        del point.x
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="frozen"):
        dataclass(frozen=False)


def test_a_default_that_is_made_anew_is_shown_as_such() -> None:
    assert "tags: 'list[str]' = <factory>" in str(inspect.signature(Point))


def test_a_record_inherits_fields_and_checks() -> None:
    assert repr(Named(1, name="n")) == "Named(x=1, y=2, tags=[], name='n')"
    assert Named(1) != Point(1)
    with pytest.raises(ValueError, match="x is -1"):
        Named(-1)


def test_a_record_that_nobody_made_yet_can_be_unpickled_and_looked_at() -> None:
    def unpickled() -> Any:
        @dataclass(frozen=True)
        class Late:
            """Nobody made one."""

            x: int

        found = Late.__new__(Late)
        vars(found)["x"] = 3  # as pickle does
        return found

    found = unpickled()
    Late = type(found)
    match found:
        case Late(3):
            pass
        case _:
            raise AssertionError(found)
    with pytest.raises(FrozenInstanceError, match="x"):
        unpickled().x = 4
    with pytest.raises(FrozenInstanceError, match="x"):
        del unpickled().x
    assert replace(unpickled(), x=5).x == 5
    found = unpickled()
    assert found == type(found)(3) and repr(found).endswith("Late(x=3)")
    assert list(inspect.signature(type(unpickled())).parameters) == ["x"]
    assert type(unpickled()).__dataclass_params__.frozen
    assert pickle.loads(pickle.dumps(Point(1))) == Point(1)


def test_a_record_is_extended_as_a_standard_one_is() -> None:
    @dataclasses.dataclass(frozen=True)
    class Longer(Point):
        z: int = 0

    class Own(Point):
        def __init__(self, x: int) -> None:
            super().__init__(x)
            self.more = 3

    assert repr(Longer(1, z=2)).endswith("Longer(x=1, y=2, tags=[], z=2)")
    assert Own(1).more == 3
    with pytest.raises(FrozenInstanceError, match="x"):
        Own(1).x = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "given", [{"init": False, "default": 1}, {"kw_only": True}, {"hash": True}]
)
def test_fields_that_a_record_has_not_are_refused(given: dict[str, Any]) -> None:
    @dataclass(frozen=True)
    class Odd:
        """With a field of another kind."""

        x: int = field(**given)

    with pytest.raises(TypeError, match=r"Odd\.x"):
        Odd(1)


def test_records_first_made_by_many_threads_are_whole() -> None:
    @dataclass(frozen=True)
    class Late:
        """Nobody made one."""

        x: int

    made: list[Any] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.append(Late(4))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [Late(4)] * 8


def test_every_record_of_the_package_has_the_signature_of_a_standard_one() -> None:
    count = 0
    for record in _all_records():
        names = {item.name for item in fields(record)}
        kept = {
            name: value
            for name, value in vars(record).items()
            if name in ("__doc__", "__module__") or name in names
        }
        kept["__annotations__"] = dict(record.__annotations__)
        kept |= {item.name: item for item in fields(record) if item.name in record.__annotations__}
        bases = record.__bases__ if dataclasses.is_dataclass(record.__base__) else ()
        twin = dataclasses.dataclass(frozen=True)(type(record.__name__, bases, kept))
        ours, theirs = inspect.signature(record), inspect.signature(twin)
        shape = [
            (item.name, item.kind, item.default is item.empty) for item in ours.parameters.values()
        ]
        assert shape == [
            (item.name, item.kind, item.default is item.empty)
            for item in theirs.parameters.values()
        ], record
        count += 1
    assert count > 100
