import os

import numpy as np
import pytest

from lpm.populations import cache, new_york_city
from lpm.populations.cache import cache_folder, cached, key_of
from lpm.populations.city import NEW_YORK_CITY


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LPM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "populations"


def town(seed=0):
    return new_york_city(agents=500, seed=seed, cache=False)


def never():
    raise AssertionError("made anew, though it was on disk")


def same(one, other):
    assert one.regions == other.regions
    assert one.notes == other.notes
    for name, array in one.arrays().items():
        assert array.dtype == other.arrays()[name].dtype
        np.testing.assert_array_equal(array, other.arrays()[name])


def test_what_is_read_is_what_was_made(folder):
    made = cached("key", town)
    same(cached("key", never), made)
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_the_city_is_read_back_the_second_time(folder):
    made = new_york_city(agents=500)
    stored = next(folder.iterdir())
    when = (stored / "age.npy").stat().st_mtime_ns
    same(new_york_city(agents=500), made)
    assert (stored / "age.npy").stat().st_mtime_ns == when
    assert isinstance(new_york_city(agents=500).age, np.memmap)


def test_another_argument_or_another_table_has_another_key(tmp_path):
    table = tmp_path / "ages.csv"
    keys = {key_of(NEW_YORK_CITY, agents=None, seed=0), key_of(NEW_YORK_CITY, agents=None, seed=1),
            key_of(NEW_YORK_CITY, agents=1, seed=0)}  # fmt: skip
    for text in ("1", "2"):
        table.write_text(text)
        keys.add(key_of(tmp_path, seed=0))
    assert len(keys) == 5


@pytest.mark.parametrize("harm", ["flip a byte", "cut short", "remove a file", "break the checksums", "empty"])
def test_a_damaged_population_is_made_anew(folder, harm):
    made = cached("key", town)
    array, about = folder / "key" / "age.npy", folder / "key" / "about.json"
    if harm == "flip a byte":
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    elif harm == "cut short":
        array.write_bytes(array.read_bytes()[:-10])
    elif harm == "remove a file":
        array.unlink()
    elif harm == "break the checksums":
        about.write_text("{")
    else:
        array.write_bytes(b"")
    calls = []
    same(cached("key", lambda: calls.append(1) or town()), made)
    assert calls == [1]
    same(cached("key", never), made)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("LPM_CACHE_DIR", str(blocked))
    same(cached("key", town), town())


def test_only_the_populations_used_last_are_kept(folder, monkeypatch):
    monkeypatch.setattr(cache, "KEEP", 2)
    population = town()
    for age, key in enumerate(["first", "second", "third"]):
        cached(key, lambda: population)
        os.utime(folder / key, (age, age))
    cached("second", never)
    cached("fourth", lambda: population)
    assert {path.name for path in folder.iterdir()} == {"second", "fourth"}


def test_what_a_killed_process_left_is_removed_after_a_day(folder):
    old, new = folder / ".partial-old", folder / ".partial-new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, 0))
    cached("key", town)
    assert {path.name for path in folder.iterdir()} == {".partial-new", "key"}


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache" / "populations"
    monkeypatch.delenv("LPM_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lpm" / "populations"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "lpm" / "populations"
