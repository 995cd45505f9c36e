"""No folder of a machine is in what data are called."""

import pytest

from export.bundle.data_name import data_name


@pytest.mark.parametrize(
    ("spec", "name"),
    [("toytown:game#val", "toytown:game"), ("folder:/a/b c/#train", "b c"), ("folder:x", "x"),
     ("gta5:/data/gta5", "gta5"), ("camvid:/c#val", "c"),
     (r"folder:C:\sets\mine", "mine"), ("", "")],
)  # fmt: skip
def test_data_are_called_by_their_last_folder(spec, name) -> None:
    assert data_name(spec) == name
