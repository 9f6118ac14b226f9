"""The page that documents the schema is the model's, and its limits are the ones that hold."""

from pathlib import Path

from catalogue.limits import FILE_BYTES_MAX
from catalogue.schema_page import page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "catalogue.md"


def test_the_page_is_what_the_model_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m catalogue.schema_page docs/catalogue.md"


def test_the_size_it_names_is_the_limit() -> None:
    assert f"at most {FILE_BYTES_MAX // 1024} KiB" in page()
