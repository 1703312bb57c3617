"""Regular expressions whose search takes a bounded number of steps. Pure.

Python's `re` tries alternatives one after the other: `(a+)+$` takes twice as long for each further character. Here all
alternatives are followed at once, as a set of places in the pattern, and each set that was seen is kept with the set that
follows it. So a search reads each character once. The syntax is that of `re`, without what cannot be searched in this way:
look-around, back-references, atomic groups and flags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Literal

#: The maximum length of a pattern, and of places in it: `a{100}` has a hundred.
MAX_PATTERN = 1000
MAX_PLACES = 2000
#: How many characters one step reads if their sets are known.
CHARACTERS_A_STEP = 64
#: When the known transitions and the places of their sets are more than this, all of them are forgotten.
_MOST_KNOWN = 50_000

Spend = Callable[[int], None]


class InvalidPattern(ValueError):
    """The pattern cannot be used. The message says why, as the end of a sentence."""


# --- places --------------------------------------------------------------------------------------------------------------

#: Symbols beside characters: the end of the text, and a line break before it, which `$` matches as the end.
_END, _LAST_LINE_BREAK = "end", "\n end"


class _Place:
    """One place in the pattern: it takes a character, or leads on to other places if its condition holds."""

    __slots__ = ("condition", "following", "takes")

    def __init__(self, following: Iterable[_Place] = (), takes: Callable[[str], bool] | None = None) -> None:
        self.following = tuple(following)
        self.takes = takes
        self.condition: Callable[[_Before, str], bool] | None = None


#: The kind of character before a place in the text: none; a letter, digit or underscore; any other.
_Before = Literal["start", "word", "other"]


def _is_word(symbol: str) -> bool:
    return len(symbol) == 1 and (symbol.isalnum() or symbol == "_")


def _at_boundary(before: _Before, symbol: str) -> bool:
    return (before == "word") is not _is_word(symbol)


_CONDITIONS: dict[Any, Callable[[_Before, str], bool]] = {
    codes.AT_BEGINNING: lambda before, symbol: before == "start",
    codes.AT_BEGINNING_STRING: lambda before, symbol: before == "start",
    codes.AT_END: lambda before, symbol: symbol in (_END, _LAST_LINE_BREAK),
    codes.AT_END_STRING: lambda before, symbol: symbol == _END,
    codes.AT_BOUNDARY: _at_boundary,
    codes.AT_NON_BOUNDARY: lambda before, symbol: not _at_boundary(before, symbol),
}
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    codes.CATEGORY_DIGIT: str.isdecimal,
    codes.CATEGORY_NOT_DIGIT: lambda character: not character.isdecimal(),
    codes.CATEGORY_SPACE: str.isspace,
    codes.CATEGORY_NOT_SPACE: lambda character: not character.isspace(),
    codes.CATEGORY_WORD: _is_word,
    codes.CATEGORY_NOT_WORD: lambda character: not _is_word(character),
}


class _Builder:
    """Turns a parsed pattern into places, from its end to its beginning."""

    def __init__(self) -> None:
        self._places = 0

    def place(self, following: Iterable[_Place] = (), takes: Callable[[str], bool] | None = None) -> _Place:
        self._places += 1
        if self._places > MAX_PLACES:
            raise InvalidPattern("it is too long, counting its repetitions")
        return _Place(following, takes)

    def sequence(self, items: Any, then: _Place) -> _Place:
        for operation, argument in reversed(list(items)):
            then = self._item(operation, argument, then)
        return then

    def _item(self, operation: Any, argument: Any, then: _Place) -> _Place:
        if operation in (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN):
            return self.place([then], _taker(operation, argument))
        if operation in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            least, most, items = argument
            return self._repeat(least, most, items, then)
        if operation is codes.BRANCH:
            return self.place([self.sequence(branch, then) for branch in argument[1]])
        if operation is codes.SUBPATTERN and not (argument[1] or argument[2]):
            return self.sequence(argument[3], then)
        if operation is codes.AT:
            place = self.place([then])
            place.condition = _CONDITIONS[argument]
            return place
        raise InvalidPattern("it uses look-around, a back-reference, an atomic group or a flag")

    def _repeat(self, least: int, most: int, items: Any, then: _Place) -> _Place:
        if most is codes.MAXREPEAT:
            again = self.place()
            again.following = (self.sequence(items, again), then)
            then = again
        else:
            end = then
            for _ in range(most - least):
                once = self.sequence(items, then)
                if once is then:  # nothing is repeated, such as `(){9}`
                    break
                then = self.place([once, end])
        for _ in range(least):
            once = self.sequence(items, then)
            if once is then:
                break
            then = once
        return then


def _taker(operation: Any, argument: Any) -> Callable[[str], bool]:
    """Return whether a place takes a character."""
    if operation is codes.ANY:
        return lambda character: character != "\n"
    if operation is codes.LITERAL:
        return chr(argument).__eq__
    if operation is codes.NOT_LITERAL:
        return chr(argument).__ne__
    negated = argument[0][0] is codes.NEGATE
    tests = [_member(kind, value) for kind, value in argument[negated:]]
    return lambda character: any(test(character) for test in tests) is not negated


def _member(kind: Any, value: Any) -> Callable[[str], bool]:
    if kind is codes.LITERAL:
        return chr(value).__eq__
    if kind is codes.RANGE:
        first, last = map(chr, value)
        return lambda character: first <= character <= last
    return _CATEGORIES[value]


# --- sets of places ------------------------------------------------------------------------------------------------------


class _State:
    """A set of places where the next character may be taken, and the states that are known to follow. None: it has matched."""

    __slots__ = ("before", "known", "places")

    def __init__(self, places: tuple[_Place, ...], before: _Before) -> None:
        self.places = places
        self.before = before
        self.known: dict[str, _State | None] = {}


class Pattern:
    """A pattern to search for. Thread-safe: what two threads find out at once is the same."""

    def __init__(self, text: str) -> None:
        """Raises InvalidPattern."""
        if len(text) > MAX_PATTERN:
            raise InvalidPattern(f"it is longer than {MAX_PATTERN} characters")
        try:
            parsed = parser.parse(text)
            self._accept = _Place()
            self._first = _Builder().sequence(parsed, self._accept)
        except (re.error, OverflowError) as error:
            raise InvalidPattern(f"it is no regular expression: {error}") from error
        except RecursionError as error:
            raise InvalidPattern("it is nested too deeply") from error
        if parsed.state.flags & ~re.UNICODE:
            raise InvalidPattern("it uses look-around, a back-reference, an atomic group or a flag")
        self._forget()

    def search(self, text: str, spend: Spend) -> bool:
        """Return whether the pattern matches anywhere in the text. `spend` is called with the number of steps before they are
        taken, and may raise."""
        spend(1 + len(text) // CHARACTERS_A_STEP)
        state = self._start
        for symbol in _symbols(text):
            try:
                following = state.known[symbol]
            except KeyError:
                following = self._follow(state, symbol, spend)
            if following is None:
                return True
            state = following
        return False

    def _follow(self, state: _State, symbol: str, spend: Spend) -> _State | None:
        reached = self._closure(state, symbol, spend)
        following: _State | None = None
        if self._accept not in reached:
            character = symbol[0] if symbol != _END else ""
            taken = {
                place.following[0]: None for place in reached if place.takes is not None and place.takes(character)
            }
            before: _Before = "word" if _is_word(character) else "other"
            places = tuple(dict.fromkeys((*taken, self._first)))
            following = self._states.setdefault((frozenset(places), before), _State(places, before))
        if self._count >= _MOST_KNOWN:
            self._forget()
        self._count += 1 + (len(following.places) if following else 0)
        state.known[symbol] = following
        return following

    def _closure(self, state: _State, symbol: str, spend: Spend) -> dict[_Place, None]:
        """Return the places that are reached from those of the state without taking a character."""
        reached: dict[_Place, None] = {}
        waiting = list(state.places)
        while waiting:
            place = waiting.pop()
            if place in reached:
                continue
            spend(1)
            reached[place] = None
            if place.takes is None and (place.condition is None or place.condition(state.before, symbol)):
                waiting.extend(place.following)
        return reached

    def _forget(self) -> None:
        self._states: dict[tuple[frozenset[_Place], _Before], _State] = {}
        self._start = _State((self._first,), "start")
        self._count = 0


def _symbols(text: str) -> Iterable[str]:
    if text.endswith("\n"):
        yield from text[:-1]
        yield _LAST_LINE_BREAK
    else:
        yield from text
    yield _END


@lru_cache(maxsize=512)
def pattern(text: str) -> Pattern:
    """Return the pattern, built once. Raises InvalidPattern."""
    return Pattern(text)
