"""`credence operations`: what operators did to the services, when and why."""

from __future__ import annotations

from typing import Annotated

import typer

from credence.operations.v1 import operations_pb2 as pb
from credence.operations.v1 import operations_pb2_grpc
from credence_cli.client import connected, pages
from credence_cli.command import Json, run
from credence_cli.exits import Exit
from credence_cli.identity import Identity
from credence_cli.limits import ROWS_MAX
from credence_cli.output import say, show, table
from credence_cli.services import Service, ask_each, chosen, told


def operations(
    service: Service = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many of each service.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """What operators did to the services (redrive, discard, rebuild, republish ...), by whom and why, newest first."""

    async def work() -> Exit:
        async with connected(Identity.of("operator")) as client:

            async def ask(name: str) -> pb.ListOperationsResponse:
                stub = client.stub(operations_pb2_grpc.OperationServiceStub, name)
                request = pb.ListOperationsRequest(page_size=min(limit, ROWS_MAX))
                listed = pb.ListOperationsResponse()
                async for page in pages(lambda asked: client.call(stub.ListOperations, asked), request):
                    listed.operations.extend(page.operations)
                    listed.next_page_token = page.next_page_token
                    if len(listed.operations) >= limit:
                        break
                    request.page_size = min(limit - len(listed.operations), ROWS_MAX)
                return listed

            answers, failures = await ask_each(chosen(service), ask)
        done = [(name, o) for name, answer in answers.items() for o in answer.operations]
        done.sort(key=lambda entry: entry[1].id, reverse=True)
        rows = [
            (f"{o.at.ToDatetime():%Y-%m-%d %H:%M:%S}", name, o.action, o.subject, o.actor, o.reason) for name, o in done
        ]
        columns = ("when (UTC)", "service", "did", "to", "by", "because")
        show({name: answer.operations for name, answer in answers.items()}, as_json, lambda: table("", columns, rows))
        if any(answer.next_page_token for answer in answers.values()):
            say("There are older ones: raise --limit.")
        return told(failures)

    run(work())
