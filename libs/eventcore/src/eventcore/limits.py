"""Every limit of the kernel, in one place: what is stored, sent, taken at once, kept in memory and tried again.

Each says below it what it bounds and what happens beyond it; `docs/limits.md` is made of these words.
"""

from __future__ import annotations

from typing import Final

# Decide

EVENT_BYTES_MAX: Final = 512 * 1024
"""One event, as JSON; half of what the broker takes. Beyond: the command is refused (`event-too-large`), nothing is
stored: send less at once."""

COMMAND_BYTES_MAX: Final = 4 * 1024 * 1024
"""All events of one command, as JSON; they are stored in one document. Beyond: the command is refused
(`event-too-large`), nothing is stored: send less at once."""

APPEND_BYTES_MAX: Final = 1024 * 1024
"""The events of one append, as JSON. Beyond: the commands of a batch are stored in several appends, those of one
command always together."""

STREAM_EVENTS_MAX: Final = 10_000
"""The history of one object, unless its service says otherwise; it is read whole for each command. Beyond: what would
add to it is refused (`history-full`), what ends something is still taken: go on with another object, such as another
cohort."""

COMMAND_ATTEMPTS_MAX: Final = 8
"""Races that one command may lose to other writers of its stream. Beyond: it is aborted (`contended`): send it again
with the same id."""

# Deliver

DELIVERED_AT_ONCE_MAX: Final = 1_000
"""Appends that one step folds or publishes. Beyond: they wait in the store for the next step."""

ASIDE_MAX: Final = 1_000
"""Streams whose delivery failed and that stand aside for a page of others. Beyond: they are met again, and fail again,
as any other."""

REPUBLISHED_AT_ONCE_MAX: Final = 200
"""Streams asked for again that one step publishes; they are read whole. Beyond: they wait for the next step."""

HINTS_MAX: Final = 100_000
"""Streams that wait in memory to be delivered. Beyond: no more are noted; delivery finds them in the store."""

HINTS_A_STEP_MAX: Final = 500
"""Hinted streams that one step of delivery takes. Beyond: they wait for the next step."""

PRODUCE_REQUEST_BYTES_MAX: Final = 1_048_576
"""One request to Kafka; a little below the broker's own default, twice the largest event. Beyond: cannot be, an event
is refused before it is stored."""

PRODUCE_BATCH_BYTES_MAX: Final = 262_144
"""One partition's records of one request. Beyond: they go in several requests."""

# Consume

CONSUMED_AT_ONCE_MAX: Final = 500
"""Records that are folded at once. Beyond: they wait in Kafka for the next batch."""

FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""One fetch from Kafka. Beyond: the rest comes with the next fetch."""

FETCH_PARTITION_BYTES_MAX: Final = 2 * 1024 * 1024
"""One partition's part of a fetch; above the largest record, or it could never be fetched. Beyond: the rest comes with
the next fetch."""

HANDLING_SECONDS_MAX: Final = 60.0
"""One try at folding a batch: long enough to look at all that rests on one document. Beyond: the batch is tried again,
and goes on where it was; the service says what holds it up."""

SOURCES_MAX: Final = 100
"""Services whose epochs a consumer remembers. Beyond: it stops at the first record of one more: who writes to its
topics?"""

STREAM_BYTES_MAX: Final = 300
"""A stream's name. Beyond: a record that claims a longer one names no stream, and is held by itself."""

VERSION_MAX: Final = 2**53 - 1
"""The highest version of a stream: beyond it no number of a store's or of JSON's is exact. Beyond: a record that claims
one names no event of a stream, and is held by itself."""

HELD_STREAMS_MAX: Final = 1_000
"""Streams that one consumer holds. Beyond: it stops instead, unready: a release that cannot read what is written should
not hold everything."""

HELD_SHARE_MAX: Final = 0.5
"""Part of the streams of one batch that may be poison at once, where it has HELD_BATCH_MIN of them. Beyond: the
consumer stops instead, unready."""

HELD_BATCH_MIN: Final = 20
"""Streams of a batch from which on their share that faults is looked at. Beyond: see HELD_SHARE_MAX."""

HELD_PAGE_MAX: Final = 500
"""Held records that are read at once. Beyond: the next page is read."""

HELD_REHEARSED_MAX: Final = 5_000
"""Held records of one stream that a dry run folds in memory. Beyond: it says so, and nothing of what stands behind."""

HELD_SWEPT_MAX: Final = 200
"""Held streams that one sweep tries again. Beyond: they wait for the next sweep."""

TYPE_CHARS_MAX: Final = 120
"""A type's name in an error about it. Beyond: it is cut."""

TOLD_CHARS_MAX: Final = 300
"""An error as it is told in heads, logs, lists and health. Beyond: it is cut."""

# Evaluate

EVALUATED_AT_ONCE_MAX: Final = 200
"""Targets that are evaluated at once. Beyond: they stay dirty for the next look."""

FAILING_MAX: Final = 10_000
"""Targets remembered as failing. Beyond: the one that failed longest ago is forgotten, and fails again."""

MADE_GOOD_MAX: Final = 10_000
"""Duplicates remembered as having marked all that rests on them. Beyond: the one looked at longest ago is forgotten,
and looked at again when it comes again."""

FAILED_LOGGED_MAX: Final = 5
"""Failed targets that one look writes into the log. Beyond: they are only counted."""

FOUND_AT_ONCE_MAX: Final = 1_000
"""Documents in one page of a query by fields. Beyond: the next page is read."""

# Tokens

TOKEN_STREAMS_MAX: Final = 1_000
"""Streams that one token names. Beyond: it is no token of this platform, `INVALID_ARGUMENT` naming `token`."""

TOKEN_BYTES_MAX: Final = 256 * 1024
"""A token unpacked. Beyond: it is no token of this platform, `INVALID_ARGUMENT` naming `token`."""

TOKEN_CHARS_MAX: Final = 4 * TOKEN_BYTES_MAX
"""A token as sent. Beyond: it is no token of this platform, `INVALID_ARGUMENT` naming `token`."""

# Keys

KEY_CACHE_SECONDS_MAX: Final = 60.0
"""A person's key in memory, to seal with. Beyond: it is read again; what was sealed after an erasure opens nowhere."""

CACHED_KEYS_MAX: Final = 10_000
"""Keys in memory. Beyond: all are dropped, and read again as they are needed."""

# The database

MONGO_CONNECTIONS_MAX: Final = 32
"""Connections to MongoDB of one process; a connection string may name fewer (`maxPoolSize`). Beyond: a read or write
waits MONGO_QUEUE_SECONDS_MAX for a free one."""

MONGO_QUEUE_SECONDS_MAX: Final = 2.0
"""For a connection to MongoDB to become free. Beyond: `UNAVAILABLE`: send it again with the same id."""

MONGO_ANSWER_SECONDS_MAX: Final = 15.0
"""One read or write, all in all. Beyond: `UNAVAILABLE`, the outcome is unknown: send it again with the same id."""

IN_MAX: Final = 50
"""Values in one `$in`: SecantusDB's cost grows with their square, MongoDB's hardly at all. Beyond: several reads."""

PARTS_AT_ONCE_MAX: Final = 4
"""Reads that one question of many values makes at once: fewer than the connections, or a wide one would take them all,
and fail when the last of its own did not get one in time. Beyond: the next reads."""

BULK_MAX: Final = 500
"""Operations in one bulk write, so that its answer comes well in time. Beyond: several writes."""

READ_BATCH_MAX: Final = 1_000
"""Documents in one answer of a cursor. Beyond: the next answer is asked for."""

RACE_ATTEMPTS_MAX: Final = 10
"""Tries at a write that only a race can refuse. Beyond: `UNAVAILABLE`: send it again with the same id."""

# Back-off

BACKOFF_FIRST_SECONDS: Final = 0.05
"""The pause after a failed step of a loop; doubled each time. Beyond: never more than BACKOFF_LAST_SECONDS."""

BACKOFF_LAST_SECONDS: Final = 5.0
"""The longest pause between two tries. Beyond: it is tried for as long as the process runs, and
health says what is away."""

# Rebuild

POINTER_SECONDS_MAX: Final = 1.0
"""How old a query's knowledge of a view's current generation may be. Beyond: it reads it anew."""

SWITCH_SILENCE_SECONDS_MAX: Final = 10.0
"""How long consumers stand still for a switch whose builder shows no sign of life. Beyond: it is called off."""

SWITCHES_MAX: Final = 5
"""Tries at a switch that are called off, each for the silence of its builder. Beyond: the rebuild stops; it goes on
when it is run again."""

INSTANCE_SILENT_SECONDS_MAX: Final = 30.0
"""For a process of another release to be taken for one that runs: no view whose fold it has otherwise is rebuilt.
Beyond: it is taken for one that ended."""

INSTANCES_KEPT_SECONDS: Final = 86_400.0
"""What a process that ended had noted of its folds. Beyond: it is forgotten."""

STUCK_STREAMS_MAX: Final = 1_000
"""Streams that a rebuild may find impossible to fold. Beyond: it stops: the fold is to be mended."""

DIFFERENCES_SHOWN_MAX: Final = 20
"""Differing documents of one view that are listed. Beyond: they are counted."""

DECISIONS_SHOWN_MAX: Final = 50
"""Decisions of one evaluation that would change and are listed. Beyond: they are counted."""

PATHS_SHOWN_MAX: Final = 5
"""Places at which one document or result differs that are named. Beyond: they are left out."""

NAMED_AT_ONCE_MAX: Final = 10_000
"""Streams, documents or targets whose names a scan reads at once, to read what they name in smaller pages: a database
that answers a range by reading all of it is asked for few. Beyond: the next names."""

COMPARED_AT_ONCE_MAX: Final = 500
"""Documents of each generation that are compared at once. Beyond: the next page."""

REHEARSED_AT_ONCE_MAX: Final = 200
"""Targets that are rehearsed, or marked after the switch, at once. Beyond: the next page."""

LED_FROM_AT_ONCE_MAX: Final = 200
"""Documents whose targets are looked up at once: each may lead to many. Beyond: the next documents."""

TARGETS_REMEMBERED_MAX: Final = 100_000
"""Targets that a rehearsal met and that are not there yet. Beyond: the one met longest ago is forgotten, and counted
twice when it is met again."""

REBUILD_TRIES_MAX: Final = 30
"""Tries without getting any further, two to three minutes in all, while the database or the log does not answer.
Beyond: the rebuild stops; it goes on when it is run again."""

SCANNED_AT_ONCE_MAX: Final = 200
"""Streams of the own log that a rebuild folds at once. Beyond: the next page."""

REBUILT_FROM_AT_ONCE_MAX: Final = 2_000
"""Records of the topics that a rebuild folds at once: more of a stream, fewer writes. Beyond: the next records."""
