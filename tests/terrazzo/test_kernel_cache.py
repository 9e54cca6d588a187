"""Compiled kernels find a folder where neither the package nor the user has one."""

import os

import pytest

from terrazzo.kernel_cache import SETTING, keep_kernels


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A path below a file: nothing can be written there."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    # Set and deleted, so that what the function sets is taken back after the test.
    monkeypatch.setenv(SETTING, "")
    monkeypatch.delenv(SETTING)
    return tmp_path / "file" / "terrazzo"


def test_a_private_temporary_folder_is_used_where_no_other_can_be(nowhere, tmp_path):
    keep_kernels(nowhere)
    folder = tmp_path / f"terrazzo-kernels-{os.getuid()}"
    assert os.environ[SETTING] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_not_read(nowhere, tmp_path):
    open_to_all = tmp_path / f"terrazzo-kernels-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    keep_kernels(nowhere)
    assert os.environ[SETTING] != str(open_to_all)


def test_what_the_user_chose_stays(nowhere, monkeypatch):
    monkeypatch.setenv(SETTING, "chosen")
    keep_kernels(nowhere)
    assert os.environ[SETTING] == "chosen"


def test_nothing_is_set_where_the_package_can_be_written(nowhere, tmp_path):
    keep_kernels(tmp_path)
    assert SETTING not in os.environ
