"""`credence stack`, `credence topics`, `credence lag`, `credence token`, `credence secrets`: for whoever runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from credence_cli import topics
from credence_cli.addresses import stack_ports
from credence_cli.command import Json
from credence_cli.embedded.development_secrets import ensure_development_secrets
from credence_cli.embedded.errors import EmbeddedError
from credence_cli.embedded.home import topics_file
from credence_cli.embedded.stack import HIGHEST_PORT_BASE, Stack
from credence_cli.exits import Exit
from credence_cli.identity import ROLES, Identity, mint
from credence_cli.output import out, say, show, table

stack_app = typer.Typer(
    help="The whole platform on this machine: embedded Kafka and database, topics, the three services.",
    no_args_is_help=True,
)
topics_app = typer.Typer(help="Kafka's topics.", no_args_is_help=True)

Bootstrap = Annotated[
    str | None,
    typer.Option("--bootstrap", help="Kafka's address; CREDENCE_KAFKA_BOOTSTRAP, else the development stack's."),
]

Port = Annotated[
    int | None,
    typer.Option(
        "--port", min=0, max=HIGHEST_PORT_BASE, help="First of the consecutive ports to listen on; 0: any free ones."
    ),
]


def bootstrap_or_default(given: str | None) -> str:
    return given or os.environ.get("CREDENCE_KAFKA_BOOTSTRAP") or f"127.0.0.1:{stack_ports().kafka}"


@stack_app.command()
def up(
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Starts what does not run and returns when all is ready; harmless when it is."""
    stack = Stack(port_base=port, say=say)
    stack.up()
    _show_status(stack, as_json)


@stack_app.command()
def status(as_json: Json = False) -> None:
    """Each part: ready, not ready, or stopped. Exit code 6 unless all are ready."""
    stack = Stack(say=say)
    _show_status(stack, as_json)
    raise typer.Exit(int(Exit.OK if all(p.state == "ready" for p in stack.status()) else Exit.UNAVAILABLE))


def _show_status(stack: Stack, as_json: bool) -> None:
    parts = stack.status()
    data = [{"name": p.name, "state": p.state, "pid": p.pid, "address": p.address, "log": str(p.log)} for p in parts]
    rows = [(p.name, p.state, p.pid or "", p.address, p.log) for p in parts]
    show(data, as_json, lambda: table("", ("part", "state", "pid", "address", "log"), rows))


@stack_app.command()
def logs(
    part: Annotated[list[str] | None, typer.Argument(help="Only these parts.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=1_000_000, help="How many of the last lines.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")] = False,
) -> None:
    """What the parts say."""
    for name, line in Stack(say=say).logs(part, lines=lines, follow=follow):
        out.print(json.dumps({"part": name, "line": line}) if as_json else f"{name:<14} {line}", markup=False)


@stack_app.command()
def down(as_json: Json = False) -> None:
    """Stops everything, services first so that they drain. Data stays."""
    stack = Stack(say=say)
    stack.down()
    show({part.name: part.state for part in stack.status()}, as_json, lambda: None)


@topics_app.command("create")
def create_topics(
    bootstrap: Bootstrap = None,
    replication: Annotated[
        int | None,
        typer.Option(
            "--replication-factor",
            min=1,
            max=32_767,
            help="Copies of each topic, instead of as many as declared or, where that is fewer, as there are brokers.",
        ),
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for Kafka.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Creates the topics of deploy/topics.yml that are not there. Nothing that exists is changed."""
    made = topics.create(bootstrap_or_default(bootstrap), topics_file(), wait, replication)
    for t in made:
        if t.copies_missing:
            of = t.copies + t.copies_missing
            say(f"{t.name}: {t.copies} of the {of} declared copies, for there are no more brokers.")
    data = [
        {
            "name": t.name,
            "partitions": t.partitions,
            "created": t.created,
            "replication": t.copies,
            "drift": dict(t.drift),
        }
        for t in made
    ]
    rows = [(t.name, t.partitions, "created" if t.created else "there already", _drift(t.drift)) for t in made]
    show(data, as_json, lambda: table("", ("topic", "partitions", "", "differs from its declaration"), rows))


def _drift(drift: object) -> str:
    pairs = dict(drift) if isinstance(drift, dict) else {}
    return ", ".join(f"{name}: {actual}, declared {declared}" for name, (declared, actual) in pairs.items())


@topics_app.command("describe")
def describe_topics(bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """The topics as they are."""
    found = topics.describe(bootstrap_or_default(bootstrap))
    data = [
        {"name": t.name, "partitions": t.partitions, "replication": t.replication_factor, "config": dict(t.config)}
        for t in found
    ]
    rows = [
        (t.name, t.partitions, t.replication_factor, ", ".join(f"{k}={v}" for k, v in sorted(t.config.items())))
        for t in found
    ]
    show(data, as_json, lambda: table("", ("topic", "partitions", "replicas", "settings"), rows))


def lag(bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """How many events each consumer group has yet to handle."""
    groups = topics.lag(bootstrap_or_default(bootstrap))
    data = [
        {
            "group": g.group,
            "state": g.state,
            "members": g.members,
            "partitions": [
                {
                    "topic": p.topic,
                    "partition": p.partition,
                    "latest": p.latest,
                    "committed": p.committed,
                    "events": p.events,
                }
                for p in g.partitions
            ],
        }
        for g in groups
    ]
    rows = [(g.group, g.state, g.members, p.topic, p.partition, p.latest, str(p)) for g in groups for p in g.partitions]
    columns = ("group", "state", "members", "topic", "partition", "latest", "behind")
    show(data, as_json, lambda: table("", columns, rows))


def token(
    role: Annotated[list[str], typer.Option("--role", help=f"Repeatable: {', '.join(ROLES)}.")],
    person: Annotated[str | None, typer.Option("--person", help="Whom a learner or mentor is.")] = None,
    provider: Annotated[list[str] | None, typer.Option("--provider", help="Providers it acts for.")] = None,
    body: Annotated[list[str] | None, typer.Option("--body", help="Awarding bodies it acts for.")] = None,
    subject: Annotated[str, typer.Option("--subject", help="Recorded with everything it does.")] = "developer",
    as_json: Json = False,
) -> None:
    """A token of 15 minutes, signed with a development key; no production service takes it.

    The key is that of this machine's stack, or of the folder named by CREDENCE_DEVELOPMENT_SECRETS.
    """
    if unknown := sorted(set(role) - set(ROLES)):
        raise typer.BadParameter(f"no such role: {', '.join(unknown)}")
    identity = Identity(tuple(role), subject, person, tuple(provider or ()), tuple(body or ()))
    minted = mint(identity)
    show({"token": minted}, as_json, lambda: out.print(minted, markup=False, soft_wrap=True))


def secrets(
    folder: Annotated[Path, typer.Argument(help="For containers: deploy/secrets.")], as_json: Json = False
) -> None:
    """Makes the secrets of a deployment that are not there yet: what is there is never made anew.

    Real keys to encrypt and to fingerprint, and a development key to sign tokens, which no production service takes.
    """
    made = ensure_development_secrets(folder)
    try:
        # The folder keeps others out. Inside a container each file is mounted alone and read by another user.
        folder.chmod(0o700)
        for file in (made.master_key, made.digest_key, made.jwks):
            file.chmod(0o444)
    except OSError as error:
        raise EmbeddedError(f"The access rights in {folder} cannot be set: {error}.") from error
    rows = [
        ("master.key", "wraps the key of each person; lost, personal data stays unreadable: keep a copy elsewhere"),
        ("digest.key", "fingerprints commands, so that a repeated one is known again"),
        ("dev-signing.pem", "signs development tokens: set CREDENCE_DEVELOPMENT_SECRETS to this folder"),
        ("dev-jwks.json", "its public half, for the services"),
    ]
    data = {"folder": str(folder), "files": [name for name, _ in rows]}
    show(data, as_json, lambda: table(str(folder), ("file", "what it is for"), rows))
