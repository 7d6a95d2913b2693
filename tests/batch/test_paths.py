"""The files that a model file names are found beside it, and those that they name beside them."""

from pathlib import Path

import pytest

from sae.batch.paths import beside, placed_policy, policy_files
from sae.errors import SaeInputError


def test_a_path_is_taken_from_the_folder_of_the_file_that_names_it(tmp_path):
    (tmp_path / "a.csv").write_text("")
    assert beside("a.csv", tmp_path, "here") == beside(tmp_path / "a.csv", Path("elsewhere"), "here")
    with pytest.raises(SaeInputError, match=r"here names the file b\.csv, which does not exist: .*b\.csv"):
        beside("b.csv", tmp_path, "here")


def test_names_of_policies_and_rules_are_no_paths(tmp_path):
    for policy in ("statcan", {"base": "statcan"}, {"rules": []}, None, 3):
        assert placed_policy(policy, tmp_path, "here") == policy and policy_files(policy) == []


def test_all_files_that_a_policy_stands_on_are_listed_once(tmp_path):
    (tmp_path / "below").mkdir()
    texts = {
        "a.toml": 'base = "below/b.toml"',
        "below/b.toml": 'base = "c.toml"',
        "below/c.toml": 'base = "../a.toml"',  # a circle: who reads it refuses it
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for policy in ("a.toml", {"base": "a.toml"}):
        files = policy_files(placed_policy(policy, tmp_path, "here"))
        assert [path.resolve() for path in files][:3] == [tmp_path / name for name in texts]
    for text in (b"base = ", b"base = 3", b"\xff", b"a = " + b"[" * 9999):
        (tmp_path / "a.toml").write_bytes(text)
        assert policy_files(tmp_path / "a.toml") == [tmp_path / "a.toml"]
