"""The hostile clients of servicekit's tests, one after another while it goes on serving, on a service as it is run."""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil

from credence_cli.identity import Identity
from libs.servicekit.tests import hostile
from libs.servicekit.tests.hostile import Victim, many_files, watched
from tests.system.platform import OPERATOR, Platform

# Those that need no RPC made for them, and no patience: an idle connection is closed after minutes here.
ATTACKS = (
    hostile.a_length_that_is_never_reached,
    hostile.a_length_of_four_gigabytes,
    hostile.more_bytes_than_the_length_says,
    hostile.a_content_length_that_lies,
    hostile.a_gigabyte_of_zeros_in_a_megabyte,
    hostile.half_a_message,
    hostile.a_byte_at_a_time,
    hostile.headers_without_end,
    hostile.rapid_resets,
    hostile.pings_and_settings,
    hostile.a_megabyte_of_metadata,
    hostile.half_requests_to_the_status_port,
)


async def test_a_service_goes_on_serving_while_hostile_clients_do_their_worst(platform: Platform) -> None:
    stack = platform.stack
    [pid] = [part.pid for part in stack.status() if part.name == "enrolment" and part.pid]
    victim = Victim(
        psutil.Process(pid),
        int(stack.addresses.grpc["enrolment"].rpartition(":")[2]),
        urlsplit(stack.addresses.http["enrolment"]).port or 0,
        hostile=platform.token(Identity.of("admissions")),
        honest=platform.token(OPERATOR),
        # The programme's id is the first field of the request, as the value is of a StringValue.
        path="/credence.enrolment.v1.CatalogueService/ListProgrammes",
        echoes=False,
    )
    with many_files():
        async with watched(victim):
            for attack in ATTACKS:
                await attack(victim)
    assert victim.served >= 10
