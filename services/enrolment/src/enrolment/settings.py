"""What the enrolment service is told."""

from __future__ import annotations

from servicekit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing beyond what every service is told."""
