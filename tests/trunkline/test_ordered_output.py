"""Lines of files that are written in turns come out in the order of the files."""

import io
import random
import tempfile

import pytest

from trunkline.ordered_output import _KEPT, OrderedOutput


def test_the_first_file_passes_at_once_and_the_others_wait() -> None:
    out: list[bytes] = []
    with OrderedOutput(out.append) as output:
        output.write(1, b"b1\n")
        output.write(0, b"a1\n")
        assert out == [b"a1\n"]
        output.write(2, b"c1\n")
        output.complete(2)
        output.complete(0)
        assert b"".join(out) == b"a1\nb1\n"
        output.write(1, b"b2\n")
        assert b"".join(out) == b"a1\nb1\nb2\n"
        output.complete(1)
        assert b"".join(out) == b"a1\nb1\nb2\nc1\n"
        output.write(3, b"d1\n")
        assert out[-1] == b"d1\n"


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_writing_gives_the_order_of_the_files(seed: int) -> None:
    rng = random.Random(seed)
    lines = {file: [f"{file} {n} {'x' * rng.randrange(3_000)}\n".encode() for n in range(60)] for file in range(12)}
    left = {file: list(those) for file, those in lines.items()}
    out: list[bytes] = []
    with OrderedOutput(out.append) as output:
        while left:
            file = rng.choice(list(left))
            if left[file]:
                output.write(file, left[file].pop(0))
            else:
                output.complete(file)
                del left[file]
            assert all(len(held.kept) <= _KEPT for held in output._held.values())
    assert b"".join(out) == b"".join(line for those in lines.values() for line in those)


def test_giving_up_passes_on_complete_files_only() -> None:
    out: list[bytes] = []
    with OrderedOutput(out.append) as output:
        output.write(0, b"a1\n")
        output.write(1, b"b1\n")
        output.write(2, b"c1\n")
        output.complete(2)
        output.complete(3)
        output.give_up()
    assert b"".join(out) == b"a1\nc1\n"


@pytest.mark.parametrize("folder", ["missing", "full"])
def test_without_room_on_disk_lines_wait_in_memory(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def temporary_file(**_: object) -> io.FileIO:
        if folder == "missing":
            raise FileNotFoundError("no usable temporary folder")
        return io.FileIO("/dev/full", "r+")

    monkeypatch.setattr(tempfile, "TemporaryFile", temporary_file)
    out: list[bytes] = []
    lines = [f"{number} {'x' * 3_000}\n".encode() for number in range(60)]
    with OrderedOutput(out.append) as output:
        for line in lines:
            output.write(1, line)
        output.complete(1)
        output.write(0, b"first\n")
        output.complete(0)
    assert b"".join(out) == b"first\n" + b"".join(lines)
