"""Pages of a long answer (AIP-158): a bounded size and an opaque token that says where the next one starts."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from hashlib import sha256

from servicekit.errors import InvalidArgument
from servicekit.limits import PAGE_SIZE_MAX, PAGE_TOKEN_CHARS_MAX


@dataclass(frozen=True, slots=True)
class Page:
    """`size` items, those whose sort key is greater than `after` (None: from the start)."""

    size: int
    after: str | None
    _query: str

    def token(self, last: str) -> str:
        """The token of the page that follows the item with the sort key `last`."""
        return base64.urlsafe_b64encode(json.dumps([self._query, last], ensure_ascii=False).encode()).decode()


def page(size: int, token: str, *, query: str) -> Page:
    """The page a request asks for; size 0 or above 1,000 means 1,000.

    `query` names what is listed with its filters: a token of another query is refused, since its position would
    silently skip items. The token carries no rights; the query applies the caller's scope as ever.
    Raises InvalidArgument.
    """
    digest = sha256(query.encode()).hexdigest()[:16]
    if size < 0:
        raise InvalidArgument([("page_size", "must not be negative")])
    size = min(size or PAGE_SIZE_MAX, PAGE_SIZE_MAX)
    if not token:
        return Page(size, None, digest)
    try:
        # A lone surrogate, which protobuf lets in, could not even be encoded in the message that refuses it.
        if len(token) > PAGE_TOKEN_CHARS_MAX or not token.isascii():
            raise ValueError("not a token")
        made_for, after = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
        if made_for != digest or not isinstance(after, str):
            raise ValueError("another query's")
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise InvalidArgument([("page_token", "is not a token of this query: start without one")]) from None
    return Page(size, after, digest)
