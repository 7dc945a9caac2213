"""A task folder: its pictures come out as the super-net needs them; a folder that is no task is told with numbers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hnas import DataError, EpisodeSpec
from hnas_plugins.tasks.pictures.source import Pictures, PicturesOptions


def write(root: Path, counts: Mapping[str, int]) -> Path:
    """Write pictures of 12×10, each grey of its own: dark ones for the first class, brighter for the next."""
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (12, 10), 40 * label + i).save(root / name / f"{i}.png")
    return root


def source(root: Path | str, **options: Any) -> Pictures:
    return Pictures(PicturesOptions(root=str(root), **{"channels": 1, "height": 8, "width": 8, **options}))


def refusal(root: Path) -> DataError:
    with pytest.raises(DataError) as told:
        source(root).task()
    return told.value


def test_the_pictures_of_a_folder_are_one_task_in_order(tmp_path: Path) -> None:
    write(tmp_path, {"owl": 2, "cat": 2, "query/cat": 3, "query/owl": 1})
    task = source(tmp_path).task()
    assert (task.classes, task.n_way, task.k_shot, task.n_query) == (("cat", "owl"), 2, 2, 4)
    assert [part.shape for part in task.support] == [(2, 1, 8, 8)] * 2
    assert np.allclose(255 * np.stack(task.support)[:, :, 0, 0, 0], [[40, 41], [0, 1]])
    assert [len(part) for part in task.query] == [3, 1]
    episode = task.episodes()
    assert episode.support_y.tolist() == [[0, 0, 1, 1]]
    assert episode.query_y.tolist() == [[0, 0, 0, 1]]
    assert np.allclose(255 * episode.query_x[0, :, 0, 0, 0], [80, 81, 82, 120])


def test_a_task_without_query_pictures_has_an_empty_query_set(tmp_path: Path) -> None:
    episode = source(write(tmp_path, {"a": 1, "b": 1})).task().episodes()
    assert tuple(episode.query_x.shape) == (1, 0, 1, 8, 8)


def test_a_class_may_be_called_query(tmp_path: Path) -> None:
    assert source(write(tmp_path, {"query": 2, "reply": 2})).task().classes == ("query", "reply")


def test_what_is_dark_becomes_bright_where_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"a": 1, "b": 1})
    plain, turned = (np.stack(source(tmp_path, invert=turn).task().support) for turn in (False, True))
    assert np.allclose(plain + turned, 1)
    assert not np.allclose(plain, turned)


def test_pictures_come_in_colour_and_are_cut_to_the_middle_not_squeezed(tmp_path: Path) -> None:
    write(tmp_path, {"a": 1, "b": 1})
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (255, 0, 0)
    Image.fromarray(wide).save(tmp_path / "a" / "0.png")
    image = source(tmp_path, channels=3, height=10, width=10).task().support[0][0]
    assert image.shape == (3, 10, 10)
    assert np.allclose(image, np.array([1, 0, 0], np.float32)[:, None, None])


def test_one_picture_is_read_as_it_is_in_the_task(tmp_path: Path) -> None:
    """`hnas predict` would be given other pixels than the network was adapted to."""
    made = source(write(tmp_path, {"a": 2, "b": 2}), invert=True)
    assert np.array_equal(made.read(tmp_path / "b" / "1.png"), made.task().support[1][1])


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    told = refusal(write(tmp_path, {"cat": 5}))
    assert "needs at least 2 classes of labelled pictures; found: cat with 5" in str(told)
    assert "DIR/cat/1.jpg" in (told.hint or "")


def test_an_empty_class_is_named_with_what_the_others_have(tmp_path: Path) -> None:
    write(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "notes.txt").write_text("to do")
    told = str(refusal(tmp_path))
    assert "owl has no pictures" in told
    assert "found: cat with 3, dog with 3" in told


def test_classes_may_have_unequal_numbers_of_pictures(tmp_path: Path) -> None:
    """Those of a smaller class are repeated when a network adapts to them, so that classes weigh the same."""
    made = source(write(tmp_path, {"cat": 3, "dog": 1, "owl": 2}))
    task = made.task()
    assert (task.shots, task.k_shot) == ((3, 1, 2), 3)
    found = np.rint(255 * task.episodes().support_x[0, :, 0, 0, 0].numpy())
    assert found.tolist() == [0, 1, 2, 40, 40, 40, 80, 81, 80]
    assert made.check() == "3 classes with 1 to 3 labelled pictures each; no query pictures"
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=0)
    drawn = made.sample("test", spec, [np.random.default_rng(i) for i in range(8)])
    assert {int(v) for v in np.rint(255 * drawn.support_x[..., 0, 0, 0].numpy()).ravel()} == {0, 1, 2, 40, 80, 81}
    (tmp_path / "cat" / "2.png").rename(tmp_path / "dog" / "2.png")
    other = source(tmp_path).task()
    assert (other.shots, other.digest != task.digest) == ((2, 2, 2), True)


def test_query_pictures_of_no_class_of_the_task_are_told(tmp_path: Path) -> None:
    told = str(refusal(write(tmp_path, {"cat": 1, "dog": 1, "query/cats": 1})))
    assert "cats, which is no class of the task. Did you mean 'cat'?" in told


def test_damaged_pictures_are_named_and_nothing_is_left_out(tmp_path: Path) -> None:
    """Left out, the classes would have unequal shots, and the user would not know why."""
    write(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "dog" / "1.png").write_bytes(b"no picture")
    told = str(refusal(tmp_path))
    assert "1 of 4 pictures" in told
    assert f"dog{os.sep}1.png" in told
    with pytest.raises(DataError, match=r"1\.png: not a picture"):
        source(tmp_path).read(tmp_path / "dog" / "1.png")
    with pytest.raises(DataError, match=r"there\.png: there is no such file"):
        source(tmp_path).read(tmp_path / "not there.png")


def test_deep_pictures_are_refused_rather_than_black(tmp_path: Path) -> None:
    write(tmp_path, {"cat": 2, "dog": 2})
    deep = tmp_path / "dog" / "1.png"
    Image.fromarray(np.arange(120, dtype=np.uint16).reshape(10, 12)).save(deep)
    assert "1.png (its 16-bit values end at 119, as if they had 8 bits" in str(refusal(tmp_path))
    with pytest.raises(DataError, match="as if they had 8 bits"):
        source(tmp_path).read(deep)


def test_pictures_that_show_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"cat": 1, "dog": 1})
    Image.effect_noise((12, 10), 99).save(tmp_path / "cat" / "0.png")
    source(tmp_path).task()
    told = f"warning: pictures: 1 have one colour all over: {tmp_path / 'dog' / '0.png'}\n"
    assert told in capsys.readouterr().err
    source(tmp_path).read(tmp_path / "dog" / "0.png")
    assert told in capsys.readouterr().err
    shutil.copy(tmp_path / "dog" / "0.png", tmp_path / "cat" / "0.png")
    assert "all 2 labelled pictures" in str(refusal(tmp_path))


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    """Passed over, they would be missed in silence."""
    write(tmp_path, {"cat": 1, "dog": 1, "query/cat": 1})
    (tmp_path / "query" / "cat" / "9.heic").write_bytes(b"x")
    told = refusal(tmp_path)
    assert "1 pictures in" in str(told)
    assert "query/cat/9.heic" in str(told).replace(os.sep, "/")
    assert "save them as JPEG or PNG" in (told.hint or "")


@pytest.mark.parametrize("make", [lambda p: p / "missing", lambda p: p / "file"], ids=["missing", "a file"])
def test_a_folder_that_is_none_is_told(tmp_path: Path, make: Any) -> None:
    (tmp_path / "file").write_text("")
    assert str(make(tmp_path)) in str(refusal(make(tmp_path)))


def test_the_digest_changes_with_a_pixel_and_with_a_name(tmp_path: Path) -> None:
    """A run would go on with what it found for other pictures."""
    first = source(write(tmp_path / "1", {"a": 2, "b": 2, "query/a": 1})).task().digest
    assert source(write(tmp_path / "2", {"a": 2, "b": 2, "query/a": 1})).task().digest == first
    assert source(write(tmp_path / "3", {"a": 2, "c": 2, "query/a": 1})).task().digest != first
    Image.new("L", (12, 10), 200).save(tmp_path / "2" / "query" / "a" / "0.png")
    assert source(tmp_path / "2").task().digest != first


def test_tasks_can_be_drawn_of_it_for_tests_only(tmp_path: Path) -> None:
    made, spec = source(write(tmp_path, {"a": 3, "b": 3, "c": 3})), EpisodeSpec(n_way=2, k_shot=1, n_query=2)
    drawn = made.sample("test", spec, [np.random.default_rng(i) for i in range(4)])
    assert tuple(drawn.query_x.shape) == (4, 4, 1, 8, 8)
    with pytest.raises(DataError, match="all of its pictures are one task"):
        made.sample("train", spec, [np.random.default_rng(0)])
    assert made.check() == "3 classes with 3 labelled pictures each; no query pictures"
