"""Splits by a list and by a hash of the names."""

import hashlib
import re
import sys

import pytest

from data_pipeline.labelled_picture import Source
from data_pipeline.splits import split_by_file, split_by_hash


def _sources(names):
    return [Source(name, (f"{name}.png",)) for name in names]


def _names(splits):
    return {split: [source.name for source in sources] for split, sources in splits.items()}


def _write(folder, text):
    (folder / "list.csv").write_bytes(text.encode())
    return str(folder / "list.csv")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_split_by_file_follows_the_list(tmp_path, mark, end):
    rows = ["id,size,split", "c,1,train", '"b",2, val', "a,3,train"]
    path = _write(tmp_path, mark + end.join(rows))
    splits = split_by_file(_sources("abc"), path)
    assert _names(splits) == {"train": ["a", "c"], "val": ["b"]}
    assert not any(source.problem for sources in splits.values() for source in sources)
    assert _names(split_by_file(_sources("abc"), path, "val")) == {"val": ["b"]}


def test_split_by_file_names_what_either_side_lacks(tmp_path):
    path = _write(tmp_path, "id,split\na,train\ngone,val\nb,val\n")
    splits = split_by_file(_sources(["a", "b", "new"]), path)
    assert _names(splits) == {"train": ["a", "new"], "val": ["b", "gone"]}
    assert splits["train"][1].problem == (
        f"new.png is not listed: {path} has no id 'new'; add it, or move the picture out"
    )
    gone = splits["val"][1]
    assert gone.files == (path,)
    assert gone.problem == f"{path} lists 'gone', and there is no such picture; correct the list"
    # Of one split, the other's missing pictures are of no interest.
    assert _names(split_by_file(_sources(["a", "b"]), path, "train")) == {"train": ["a"]}


def test_split_by_file_keeps_the_problems_of_sources(tmp_path):
    path = _write(tmp_path, "id,split\na,train\n")
    assert split_by_file([Source("a", problem="bad")], path)["train"][0].problem == "bad"
    unlisted = split_by_file([Source("b", ("b.png",), problem="bad")], path)
    assert unlisted["train"][-1] == Source("b", ("b.png",), problem="bad")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must have the columns 'id' and 'split'"),
        ("name;split\na;train\n", "its first line names ['name;split']"),
        ("id,split\n", "lists no picture"),
        ("id,split\na,train\na,val\n", "line 3: 'a' is listed twice"),
        ("id,split\na\n", "line 2: id must not be empty and split must"),
        ("id,split\na,\n", "line 2: id must not be empty and split must"),
        ("id,split\n,train\n", "line 2: id must not be empty and split must"),
        ("id,split\na,../x\n", "letters, digits and underscores, got 'a' and '../x'"),
    ],
)
def test_split_by_file_refuses_a_bad_list(tmp_path, text, message):
    path = _write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(path) + ".*" + re.escape(message)):
        split_by_file(_sources("a"), path)


def test_split_by_file_refuses_a_split_it_does_not_name(tmp_path):
    path = _write(tmp_path, "id,split\na,train\nb,val\n")
    with pytest.raises(ValueError, match=r"has the splits \['train', 'val'\], not 'test'"):
        split_by_file(_sources("ab"), path, "test")
    with pytest.raises(ValueError, match=r"none\.csv cannot be read"):
        split_by_file(_sources("a"), str(tmp_path / "none.csv"))


def test_split_by_hash_holds_out_about_the_fraction():
    names = [f"picture_{k}" for k in range(2000)]
    for fraction in (0.1, 0.5):
        held_out = len(split_by_hash(_sources(names), "train", fraction)["val"])
        # 2000 draws: the standard deviation is at most sqrt(2000 / 4) = 22.
        assert abs(held_out - 2000 * fraction) < 4 * 22
    assert _names(split_by_hash(_sources("ab"), "mine", 0)) == {"mine": ["a", "b"]}


def test_split_by_hash_moves_no_picture_when_there_are_more():
    few = split_by_hash(_sources([f"{k}" for k in range(0, 300, 3)]), "train", 0.3)
    many = split_by_hash(_sources([f"{k}" for k in range(300)]), "train", 0.3)
    for split in ("train", "val"):
        assert set(few[split]) < set(many[split])
    # The share is that of the first 48 bits of the name's SHA-256, on every machine.
    first = {f"{k}": hashlib.sha256(f"{k}".encode()).hexdigest()[:12] for k in range(300)}
    expected = [name for name, digits in first.items() if int(digits, 16) < 0.3 * 2**48]
    assert _names(many)["val"] == expected


def test_split_by_hash_names_its_limits():
    for fraction in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match=r"val_fraction must lie in \[0, 1\)"):
            split_by_hash(_sources("a"), "train", fraction)
    with pytest.raises(ValueError, match="split must have another name than val"):
        split_by_hash(_sources("a"), "val", 0.5)
    with pytest.raises(ValueError, match=r"1e-06 leaves none of 2 pictures for val"):
        split_by_hash(_sources("ab"), "train", 1e-6)


def test_split_by_file_names_a_list_that_is_no_text(tmp_path):
    path = tmp_path / "split.csv"
    path.write_bytes(b'id,split\n"' + b"a" * 200_000)
    with pytest.raises(ValueError, match=r"split\.csv cannot be read as CSV"):
        split_by_file([Source("a", ("a.png",))], str(path))
    path.write_bytes(b"id,split\na\0,train\n")
    if sys.version_info < (3, 11):  # Newer readers take a zero byte for a letter.
        with pytest.raises(ValueError, match=r"split\.csv cannot be read as CSV"):
            split_by_file([Source("a", ("a.png",))], str(path))
