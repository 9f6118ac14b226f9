"""The kernel's own documents, as any release may have stored them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def known(cls: type[T], document: Mapping[str, Any]) -> T:
    """The dataclass `cls` of a stored document; fields that a newer release added are passed over.

    Releases run side by side on one database: an older one that refused them could load no stream any more to which
    a newer one has appended.
    """
    names = {field.name for field in fields(cls)}
    return cls(**{name: value for name, value in document.items() if name in names})
