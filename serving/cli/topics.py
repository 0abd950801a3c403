"""Verbs of the topics: topics list, topics schema, topics publish."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from serving.cli.options import Home, Json, open_lake, open_log
from serving.cli.output import Output, listing, print_json

Name = Annotated[str, typer.Argument(help="As `tickhouse topics list` shows it.")]
Names = Annotated[list[str] | None, typer.Argument(help="Only these; default: all.", metavar="[TOPIC...]", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the verbs of this module."""
    verbs = typer.Typer(help="Topics for consumers: list them, show a schema, publish what the gate has published.")
    verbs.command("list")(list_)
    verbs.command("schema")(schema)
    verbs.command("publish")(publish)
    app.add_typer(verbs, name="topics", rich_help_panel="Ask", no_args_is_help=True)


def list_(home: Home = None, json: Json = False) -> None:
    """List the topics: where each comes from, what it holds, and how many publications wait to be told."""
    from serving.topics import publisher
    from serving.topics.topics import TOPICS

    output = Output(as_json=json)
    found = []
    with open_lake(home) as lake:
        log, where = open_log(lake.settings), publisher.where_of(lake.settings)
        for topic in TOPICS.values():
            position = publisher.position_of(lake, topic, where)
            bounds = log.bounds(topic.name)
            found.append(
                {
                    "topic": topic.name,
                    "table": topic.table,
                    "form": topic.form.value,
                    "about": topic.doc,
                    "records": sum(bound.next - bound.first for bound in bounds.values()),
                    "positions": {str(partition): bound.next for partition, bound in sorted(bounds.items())},
                    "waiting": len(publisher.waiting(lake, topic, position)),
                }
            )
    columns = ["topic", "table", "form", "records", "waiting", "about"]
    shown = listing(f"On {where}", columns, [[one[name] for name in columns] for one in found], right=["records", "waiting"])
    output.answer({"log": where, "topics": found}, lambda console: console.print(shown))


def schema(name: Name, json: Json = False) -> None:
    """Show the form of a topic's records: an event with the columns its values come from, or the columns of a block."""
    from lake.tables import table_named
    from serving.topics.topics import Form, topic_named

    output = Output(as_json=json)
    topic = topic_named(name)
    table = table_named(topic.table)
    if topic.form is Form.EVENTS:
        form: dict[str, object] = {"topic": name, "form": topic.form.value, "event": topic.example}
    else:
        columns = {"event_id": "string", **{column.name: str(column.arrow_type) for column in table.columns}}
        form = {"topic": name, "form": topic.form.value, "columns": columns}
    output.answer(form, lambda console: print_json(form))


def publish(
    names: Names = None,
    home: Home = None,
    again: Annotated[
        bool, typer.Option("--again", help="Forget the position first: tell whatever the topic does not hold, by name.")
    ] = False,
    json: Json = False,
) -> None:
    """Publish what the gate has published since the last time; each event once, whatever dies in between."""
    from serving.topics import publisher

    output = Output(as_json=json)
    with open_lake(home) as lake, output.working("Publishing"):
        log, where = open_log(lake.settings), publisher.where_of(lake.settings)
        if again:
            publisher.forget(lake, where, names or ())
        done = publisher.publish(lake, log, where, names or ())

    def render(console: Console) -> None:
        told = [one for one in done if one.publications]
        if not told:
            console.print("Nothing new: every topic tells what the gate has published.")
        for one in told:
            console.print(f"{one.topic}: {one.records:,} records of {one.publications:,} publications.")

    output.answer({"log": where, "topics": [one.document() for one in done]}, render)
