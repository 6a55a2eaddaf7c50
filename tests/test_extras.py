"""Optional packages: there, missing, or broken themselves."""

import pytest

from fastconv._extras import require


def test_an_installed_package_is_imported():
    assert require("json.decoder", "demo", "a test").JSONDecoder


def test_a_missing_package_names_its_extra():
    with pytest.raises(ModuleNotFoundError, match=r"a picture needs not_there.*pip install 'fastconv\[demo\]'"):
        require("not_there.inside", "demo", "a picture")


def test_a_package_that_lacks_another_one_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'not_there'"):
        require("half_installed", "demo", "a picture")
