"""Language lock: a stream whose language the model has detected goes on with that language's own prompt.

The first tag locks. From the next chunk on the stream's words are decoded with the prompt of the tag's language, and a
watcher, which has a decoder state of its own and decodes the same encoder frames, goes on with `auto`: it writes
exactly what the stream would have without a lock. As long as the watcher tags its sentences with the locked language,
its words are not used. With the first other tag the lock moves: the stream's words since the watcher's tag before are
replaced by the watcher's, the stream's decoder adopts the watcher's state, and the prompt is that of the new language.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from engine.sessions.detokenizer import Detokenizer, TagWritten

_MOST_TOKENS = 1_024
"""Tokens of the watcher kept for want of a tag; the older half is forgotten beyond it."""


class Move(Enum):
    """What the decoder states of a slot have to do after a step.

    START_WATCHER: the watcher begins with a copy of the stream's; ADOPT_WATCHER: the stream goes on with a copy of the
    watcher's.
    """

    START_WATCHER = auto()
    ADOPT_WATCHER = auto()


@dataclass(frozen=True, slots=True)
class TimedToken:
    """One token at an encoder frame of the stream."""

    token: int
    frame: int
    probability: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Words that begin after frame `after` are replaced by those of `tokens`; what stood before is in `language`."""

    after: int
    language: str
    tokens: tuple[TimedToken, ...]


class SpelledTags:
    """Finds the tags in what `auto` wrote, in however many pieces. `prompts`: index of each language."""

    def __init__(self, detokenizer: Detokenizer, prompts: Mapping[str, int]) -> None:
        self._detokenizer = detokenizer
        self._prompts = prompts

    def clone(self) -> "SpelledTags":
        """An independent one that goes on from here."""
        return SpelledTags(self._detokenizer.clone(), self._prompts)

    def add(self, token: TimedToken) -> tuple[str, int] | None:
        """Language and prompt of the tag that ends with this token."""
        if self._detokenizer.pieces[token.token].is_plain and not self._detokenizer.is_holding:
            return None
        found = None
        for item in self._detokenizer.add(token.token, token.frame, token.probability):
            if isinstance(item, TagWritten) and item.locale is not None and item.locale in self._prompts:
                found = item.locale, self._prompts[item.locale]
        return found


class LanguageLock:
    """The lock of one stream. `tags`: language and its prompt, by the tag's token; other tags change nothing.
    `spelled`: finds tags of several pieces; None where there are none.

    `prompt`: of the locked language, None before the first tag. `since`: frame of the watcher's last tag; words that
    began after it may still be rewritten.
    """

    def __init__(self, tags: Mapping[int, tuple[str, int]], spelled: SpelledTags | None = None) -> None:
        self.prompt: int | None = None
        self.since = -1
        self._tags = tags
        self._spelled = spelled
        self._language = ""
        self._tokens: list[tuple[TimedToken, tuple[str, int] | None]] = []
        self._has_tag = False

    @property
    def is_locked(self) -> bool:
        return self.prompt is not None

    def clone(self) -> "LanguageLock":
        """An independent lock that goes on from here."""
        clone = LanguageLock(self._tags, self._spelled.clone() if self._spelled is not None else None)
        clone.prompt, clone.since, clone._language = self.prompt, self.since, self._language
        clone._tokens, clone._has_tag = list(self._tokens), self._has_tag
        return clone

    def add(self, token: TimedToken) -> None:
        """A token that `auto` wrote: the stream's own while nothing is locked, its watcher's afterwards."""
        spelled = self._spelled.add(token) if self._spelled is not None else None
        tag = self._tags.get(token.token, spelled)
        self._has_tag |= tag is not None
        self._tokens.append((token, tag))
        if len(self._tokens) > _MOST_TOKENS:
            self.since = self._tokens[_MOST_TOKENS // 2][0].frame
            self._tokens = [kept for kept in self._tokens if kept[0].frame > self.since]

    def decide(self) -> tuple[Move | None, Rewrite | None]:
        """After a step: what becomes of the decoder states, and of the words."""
        if not self._has_tag:
            return None, None
        was_locked, begin = self.is_locked, 0
        rewrite: Rewrite | None = None
        for index, (last, tag) in enumerate(self._tokens):
            if tag is None:
                continue
            language, prompt = tag
            if was_locked and rewrite is None and language != self._language:
                rewrite = Rewrite(self.since, self._language, tuple(token for token, _ in self._tokens[begin:]))
            self._language, self.prompt, self.since = language, prompt, last.frame
            begin = index + 1
        del self._tokens[:begin]
        self._has_tag = False
        if rewrite is not None:
            return Move.ADOPT_WATCHER, rewrite
        return (Move.START_WATCHER if self.is_locked and not was_locked else None), None
