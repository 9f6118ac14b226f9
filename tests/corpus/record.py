"""Records the stories of the system tests on real servers: their streams, what went out of them and what came of them.

python -m tests.corpus.record new 2024-10-first      a new recording, beside those there are
python -m tests.corpus.record renew "why"            the next outcome of each that comes out otherwise, and means it
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from pymongo import MongoClient

from catalogue.files import check
from catalogue.proto import programme_to_proto
from credence.enrolment.v1 import catalogue_pb2
from credence_cli.embedded.stack import Stack
from tests.corpus import stories
from tests.corpus.recording import FOLDER, SERVICES, read, recordings, write_lines
from tests.corpus.replay import PARTS, differing, outcomes
from tests.system import test_commissioners_course as course
from tests.system import test_directors_programme as directors
from tests.system import test_mentor_plus as mentoring
from tests.system.platform import OPERATOR, Platform, all_stored, settled

ROOT = Path(__file__).parents[2]
STORIES: tuple[Callable[[Platform], None], ...] = (
    course.test_four_apply_for_three_places_and_the_fourth_waits_until_one_is_freed,
    course.test_a_register_is_answered_row_by_row,
    course.test_twenty_credits_from_register_to_certificate,
    course.test_credit_needs_the_project_however_much_was_attended,
    directors.test_a_directors_year_completes_module_by_module_and_earns_no_credit,
    mentoring.test_from_the_mentors_seminars_to_the_mentees_completion,
    mentoring.test_a_mentor_without_the_second_support_seminar_does_not_stand,
    stories.who_waits_leaves_and_a_full_cohort_without_a_list_declines,
    stories.a_session_is_added_and_cancelled,
    stories.a_result_is_carried_over_and_one_is_revised,
    stories.a_mentor_goes_into_retirement,
    stories.somebody_with_a_name_and_somebody_whom_nobody_knows_are_erased,
)


def new(name: str) -> None:
    folder = FOLDER / name
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="credence-corpus-") as home:
        stack = Stack(Path(home) / "stack", port_base=0, owned=True)
        try:
            addresses = stack.up()
            platform = Platform(stack, Path(home))
            programmes = [programme_to_proto(p) for p in check([ROOT / "catalogue"]).programmes.values()]
            all_stored(platform.ask(catalogue_pb2.LoadProgrammesRequest(programmes=programmes), OPERATOR))
            for story in STORIES:
                print(story.__name__)
                story(platform)
            with MongoClient[dict[str, Any]](addresses.mongo_uri, tz_aware=True) as client:
                settled("everything is delivered and evaluated", lambda: at_rest(client))
                now = datetime.now(UTC)
                for service in SERVICES:
                    write_lines(folder / f"{service}.appends.jsonl.gz", appends(client, service))
                    told = asyncio.run(on_topic(addresses.kafka_bootstrap, PARTS[service].topic))
                    write_lines(folder / f"{service}.topic.jsonl.gz", told)
            platform.close()
        finally:
            stack.down()
        about = {"recorded": now.isoformat(), "servers": stack.software, "stories": [s.__name__ for s in STORIES]}
        (folder / "recording.json").write_text(json.dumps(about, indent=2) + "\n")
    for outcome, found in asyncio.run(outcomes(read(folder))).items():
        read(folder).add_outcome(outcome, "recorded", found)


def renew(reason: str) -> None:
    for folder in recordings():
        recording = read(folder)
        for outcome, found in asyncio.run(outcomes(recording)).items():
            if differing(recording.outcome(outcome), found):
                print(recording.add_outcome(outcome, reason, found).relative_to(ROOT))


def at_rest(client: MongoClient[dict[str, Any]]) -> bool:
    """Nothing waits to be folded, published or evaluated."""
    for service in SERVICES:
        database = client[f"credence_{service}"]
        marks = [database["appends"].count_documents({mark: True}) for mark in ("unfolded", "unpublished")]
        targets = [name for name in database.list_collection_names() if name.startswith("targets_")]
        dirty = [database[name].count_documents({"dirty": True}) for name in targets]
        if sum(marks) + sum(dirty):
            return False
    return True


def appends(client: MongoClient[dict[str, Any]], service: str) -> list[dict[str, Any]]:
    """Every append as it is stored, but for the marks."""
    found = client[f"credence_{service}"]["appends"].find({}, {"_id": 0, "unfolded": 0, "unpublished": 0})
    stored = sorted(found, key=lambda document: (document["stream"], document["first"]))
    return [{**document, "recorded": document["recorded"].isoformat()} for document in stored]


async def on_topic(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Every record of a topic, each partition in its order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        await consumer._client.force_metadata_update()
        partitions = [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Any] = []
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
    finally:
        await consumer.stop()
    return [{"headers": {k: v.decode() for k, v in r.headers}, "hex": (r.value or b"").hex()} for r in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_subparsers(dest="how", required=True)
    how.add_parser("new").add_argument("name", help="of the recording's folder")
    how.add_parser("renew").add_argument("reason", help="kept with the outcomes")
    asked = parser.parse_args()
    if asked.how == "new":
        new(asked.name)
    else:
        renew(asked.reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
