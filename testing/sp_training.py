"""SentencePiece tokenizers trained on the fly, with the language tags as user-defined symbols like the released one."""

import random
from pathlib import Path

import sentencepiece

from testing.shapes import TAGS, Shape

SENTENCES = (
    "hello good morning my order number is where the bill please change appointment thanks hola buenos días mi pedido",
    "número dónde está la factura gracias señora guten tag ich habe eine frage zu meiner rechnung straße für schön",
    "bonjour je voudrais changer rendez-vous s'il vous plaît où est numéro français monday tuesday januar février",
)
WORDS = " ".join(SENTENCES).split()


def train(shape: Shape, folder: Path) -> None:
    """Write `tokenizer.model`, `tokenizer.vocab` and NeMo's `vocab.txt` of the shape into the folder."""
    rng = random.Random(shape.seed)
    text = folder / "text.txt"
    with text.open("w", encoding="utf-8") as out:
        for _ in range(600):
            words = [rng.choice(WORDS) for _ in range(rng.randint(3, 9))]
            words.insert(rng.randrange(len(words)), str(rng.randint(0, 99_999)))
            tag = " " + rng.choice(TAGS) if shape.prompts is not None else ""
            out.write(" ".join(words).capitalize() + rng.choice(".?!") + tag + "\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=shape.pieces,
        model_type="bpe",
        character_coverage=1.0,
        split_digits=True,
        byte_fallback=shape.byte_fallback,
        normalization_rule_name="identity",
        user_defined_symbols=list(TAGS) if shape.prompts is not None else [],
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    text.unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    with (folder / "vocab.txt").open("w", encoding="utf-8") as out:
        for index in range(1, pieces.get_piece_size()):
            out.write(pieces.id_to_piece(index).replace("▁", "##") + "\n")
