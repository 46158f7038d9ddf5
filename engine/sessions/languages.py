"""The languages of a checkpoint: what a session may ask for, and what follows from it."""

from collections.abc import Mapping

from engine.api import AUTO
from engine.checkpoint.tokenizer import PieceKind
from engine.checkpoint.weights import Checkpoint
from engine.config import ENGLISH_ONLY
from engine.errors import UnknownLocale
from engine.sessions.detokenizer import Detokenizer
from engine.sessions.language_lock import LanguageLock, SpelledTags
from engine.sessions.transcript import Transcript


class Languages:
    """`prompts`: index of each locale, and of `auto` where the checkpoint `detects`. One without prompt is English."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        prompt = checkpoint.config.prompt
        self.detects = prompt is not None
        self.prompts: Mapping[str, int] = prompt.dictionary if prompt is not None else {ENGLISH_ONLY: 0, AUTO: 0}
        self._tokenizer = checkpoint.tokenizer
        self._tags = {
            token: (piece.text, self.prompts[piece.text])
            for token, piece in enumerate(checkpoint.tokenizer.pieces)
            if piece.kind is PieceKind.TAG and piece.text in self.prompts
        }

    def prompt(self, language: str) -> int:
        """Its index. Raises `UnknownLocale`."""
        if language not in self.prompts:
            known = ", ".join(sorted(self.prompts))
            raise UnknownLocale(f"unknown language {language!r}: this checkpoint has {known}")
        return self.prompts[language]

    def configured(self, language: str) -> str | None:
        """The language that words have by configuration; None where the model detects it."""
        if not self.detects:
            return ENGLISH_ONLY
        return None if language == AUTO else language

    def transcript(self, language: str) -> Transcript:
        """An empty one for a session of that language."""
        return Transcript(self._tokenizer, self.configured(language))

    def lock(self, language: str) -> LanguageLock | None:
        """A lock for a session that asks for one; there is nothing to lock where the language is given."""
        if language != AUTO or not self.detects:
            return None
        return LanguageLock(self._tags, SpelledTags(Detokenizer(self._tokenizer), self.prompts))
