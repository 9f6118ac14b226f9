"""Every limit of a service process, in one place: what it takes in, holds at once and waits for.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words. What a domain
keeps is in the service's own `domain/limits.py`, what the kernel does in `eventcore/limits.py`.
"""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""One request or answer; set by CREDENCE_MAX_MESSAGE_BYTES. Beyond: a request is refused before it is read,
`RESOURCE_EXHAUSTED`: send fewer rows at once; for an answer there is `FAILED_PRECONDITION` (`answer-too-large`): ask
for less, or for smaller pages."""

METADATA_BYTES_MAX: Final = 16 * 1024
"""All metadata of one call. Beyond: `RESOURCE_EXHAUSTED`: send the token and the request id, and little else."""

CALLS_MAX: Final = 256
"""Calls served at once by one process; set by CREDENCE_MAX_CONCURRENT_RPCS. Beyond: `RESOURCE_EXHAUSTED`
(`too-many-calls`) with the time to wait: send it again then, with the same id."""

CALLS_SHARE_OF_ONE_CALLER: Final = 0.25
"""Part of the calls, and of their bytes, that one caller (the token's subject) may have. Beyond: `RESOURCE_EXHAUSTED`
(`too-many-calls-of-yours`, `too-many-bytes-of-yours`): wait for your earlier calls. One connection takes as many
streams; a client's library holds back those beyond."""

CALLS_REFUSED_AT_ONCE: Final = 4
"""Times the calls served at once: so many may be there to be told that they are too many. Beyond: gRPC refuses them
itself, `RESOURCE_EXHAUSTED` without details."""

PENDING_CALLS_MAX: Final = 1_000
"""Calls that wait for the process to look at them. Beyond: gRPC refuses them, `CANCELLED` without details: send it
again with the same id, and fewer at once."""

WAITING_CALLS_SHARE: Final = 0.75
"""Part of the calls served at once that may wait for what a token names, so that commands always find room, also while
nothing arrives. Beyond: `RESOURCE_EXHAUSTED` (`too-many-waiting`) with the time to wait: ask again then."""

BYTES_AT_ONCE_MAX: Final = 128 * 1024 * 1024
"""All requests being served and all answers on their way, together. Beyond: `RESOURCE_EXHAUSTED` (`too-many-bytes`)
with the time to wait: send it again then, with the same id."""

STRANGERS_MAX: Final = 32
"""Calls without a token at once: the health service's and reflection's. Beyond: `RESOURCE_EXHAUSTED`: probe less
often, and ask instead of watching."""

STRANGERS_SECONDS_MAX: Final = 5.0
"""For a health check's request to arrive. Beyond: `DEADLINE_EXCEEDED`: send it whole."""

CONNECTIONS_MAX: Final = 512
"""Open gRPC connections; set by CREDENCE_MAX_CONNECTIONS. Beyond: a new one is closed at once, those that are open go
on: share a channel, or start more processes."""

HANDSHAKE_SECONDS_MAX: Final = 5
"""From a connection's opening until it speaks HTTP/2 and has acknowledged these limits. Beyond: it is closed."""

IDLE_SECONDS_MAX: Final = 300
"""A connection without a call. Beyond: it is told to go and closed; a channel connects again by itself."""

CONNECTION_AGE_SECONDS_MAX: Final = 3_600
"""A connection, whatever goes on on it. Beyond: it is told to go, its calls have CREDENCE_LONGEST_STREAM_SECONDS to
end; a channel connects again by itself."""

KEEPALIVE_SECONDS: Final = 60
"""A connection that is silent is asked whether it is there, every so often. Beyond, by KEEPALIVE_ANSWER_SECONDS_MAX:
it is closed."""

KEEPALIVE_ANSWER_SECONDS_MAX: Final = 20
"""For a connection to say that it is there. Beyond: it is closed, its calls end."""

PING_SECONDS_MIN: Final = 10
"""Between two pings of a client. Beyond, PING_STRIKES_MAX times: it is told `too_many_pings` and its connection is
closed: ask less often."""

PING_STRIKES_MAX: Final = 3
"""Pings that came too soon. Beyond: the connection is closed."""

STATUS_CONNECTIONS_MAX: Final = 64
"""Connections to `/live`, `/ready` and `/metrics`. Beyond: the one that has kept its request back longest is closed."""

STATUS_REQUEST_BYTES_MAX: Final = 8_192
"""The head of a request to the status port. Beyond: 400."""

STATUS_SECONDS_MAX: Final = 5.0
"""For a request to the status port to arrive and its answer to be taken. Beyond: the connection is closed."""

# What a request may say, and an answer

ROWS_MAX: Final = 1_000
"""Rows of a batch. Beyond: `INVALID_ARGUMENT` naming `rows`, nothing is stored: send several batches."""

PAGE_SIZE_MAX: Final = 1_000
"""Items of one page. Beyond: the page has this many and a token for the next."""

PAGE_TOKEN_CHARS_MAX: Final = 1_000
"""A page's token. Beyond: `INVALID_ARGUMENT` naming `page_token`: start without one."""

ACCESS_TOKEN_CHARS_MAX: Final = 8_192
"""A bearer token. Beyond: `UNAUTHENTICATED`: ask the issuer for a smaller one."""

ACCESS_TOKEN_SECONDS_MAX: Final = 15 * 60
"""From a bearer token's `iat` to its `exp`. Beyond: `UNAUTHENTICATED`: ask the issuer for shorter ones."""

REASON_CHARS_MAX: Final = 500
"""An operator's reason. Beyond: `INVALID_ARGUMENT` naming `reason`: say it in fewer words."""

HELD_ENTRIES_MAX: Final = 100
"""Held records in one page. Beyond: the page has this many and a token for the next."""

HELD_ENTRIES_BYTES_MAX: Final = 2 * 1024 * 1024
"""Held records in one page, together. Beyond: the page ends, after one record at least, with a token for the next."""

REDRIVEN_AT_ONCE_MAX: Final = 100
"""Held streams that one call tries again. Beyond: the answer has a token for the next ones."""

SELECTED_STREAMS_MAX: Final = 1_000
"""Streams named in one request. Beyond: `INVALID_ARGUMENT` naming `streams`: name the rest in another."""

ERROR_BYTES_MAX: Final = 3_500
"""A refusal with its details: clients drop trailers over 8 KiB, and it travels twice. Beyond: it names as many violated
fields as fit, and how many more there are."""

ERROR_CHARS_MAX: Final = 300
"""A refusal's message. Beyond: it is cut."""

# What a process reads, keeps and writes

JWKS_BYTES_MAX: Final = 1_000_000
"""The issuer's keys. Beyond: they cannot be read, and the process keeps those it has or does not start: remove old
keys."""

SECRET_FILE_BYTES_MAX: Final = 10_000
"""A secret's file. Beyond: the rest is not read."""

LOG_VALUE_CHARS_MAX: Final = 1_000
"""One value of a log line. Beyond: it is cut."""

LOG_VALUES_MAX: Final = 20
"""Names in one list of a log line. Beyond: it is cut."""

LOG_FRAMES_MAX: Final = 30
"""Frames of one traceback in the log. Beyond: the innermost are kept."""

LOG_CAUSES_MAX: Final = 10
"""Exceptions of one chain in the log. Beyond: the outermost are kept."""

COUNTED_MAX: Final = 1_000
"""What is counted to say how much is behind. Beyond: "1000 and more"."""

BACKUP_FAULTS_MAX: Final = 20
"""Faults of a backup's log that are named. Beyond: they are left out; it is refused for the first already."""

VIEWS_NAMED_MAX: Final = 100
"""Views that one rebuild or drop names, or epochs that it accepts. Beyond: `INVALID_ARGUMENT` naming `views` or
`accept_epochs`: name the rest in another, or none for all that want it."""
