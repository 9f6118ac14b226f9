"""Write the pins of a Kafka release: `python -m credence_cli.embedded.kafka_pin_release > kafka_jars.sha256`.

Run by whoever moves to another Kafka version, and reviewed like code: from then on exactly these bytes are run.
"""

import tempfile
from pathlib import Path

from jgo.maven import MavenContext, PythonResolver

from credence_cli.embedded.kafka_pins import KAFKA_VERSION, sha256_of

ROOTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(scratch), timeout=60)
        asked, needed = context.resolver.resolve([context.create_dependency(root) for root in ROOTS])
        for found in sorted([*asked, *needed], key=lambda found: str(found.artifact.filename)):
            print(f"{sha256_of(found.artifact.resolve())}  {found.groupId}:{found.artifactId}:{found.version}")


if __name__ == "__main__":
    main()
