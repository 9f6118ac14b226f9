"""A whole service process for the signal tests: `python sample_service.py`, settings from the environment.

Its one RPC is the health service's; what it does in the background is said by SAMPLE_BACKGROUND.
"""

from __future__ import annotations

import asyncio
import os
import sys

from servicekit.process import Background, Dependency, Kit, Service, run_service
from servicekit.settings import ServiceSettings


class SampleSettings(ServiceSettings):
    grpc_port: int = 0
    http_port: int = 0


async def build(settings: SampleSettings, kit: Kit) -> Service:
    wish = os.environ.get("SAMPLE_BACKGROUND", "")

    async def work() -> None:
        if wish == "stuck":
            kit.health.watchdog("work", 0.5)
        await asyncio.Event().wait()

    async def probe() -> None:
        if wish == "away":
            raise ConnectionRefusedError("nobody listens")

    async def prepare() -> None:
        if wish == "defect":
            raise ValueError("Sample Learner 01")

    return Service(
        register=lambda server: None,
        dependencies=(Dependency("store", probe),),
        prepare=prepare,
        background=(Background("work", work),),
    )


if __name__ == "__main__":
    sys.exit(run_service("sample", build, SampleSettings))
