"""What the numbers of the contracts can hold: a number beyond it could not even be sent."""

from __future__ import annotations

from typing import Final

UINT32_MAX: Final = 2**32 - 1
UINT64_MAX: Final = 2**64 - 1
