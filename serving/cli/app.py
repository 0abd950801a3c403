"""The verbs together, and the one place where their errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from lake.errors import TickhouseError
from lake.telemetry import set_up_logging
from serving.cli import (
    alerts,
    answering,
    books,
    config,
    desk,
    fetching,
    gaps,
    keys,
    moving,
    planning,
    providers,
    running,
    safekeeping,
    setting_up,
    topics,
    upkeep,
    watching,
)
from serving.cli.output import print_error, print_usage_error
from serving.outcomes import EXIT_CODES, INTERRUPTED

EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


def make_app() -> typer.Typer:
    """Return the command line with every verb."""
    app = typer.Typer(
        name="tickhouse",
        help="A market-data lakehouse: every message as received, every fact exact, every answer explained.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (
        setting_up,
        running,
        moving,
        watching,
        fetching,
        planning,
        providers,
        answering,
        books,
        desk,
        alerts,
        gaps,
        safekeeping,
        upkeep,
        config,
        keys,
        topics,
    ):
        module.add_to(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code; an expected error is told without a traceback."""
    set_up_logging(sys.stderr, level=os.environ.get("TICKHOUSE_LOG_LEVEL", "CRITICAL").upper())
    try:
        code = make_app()(args=list(arguments), prog_name="tickhouse", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except TickhouseError as error:
        return print_error(error, as_json="--json" in arguments)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        print_usage_error(error.format_message(), context.command_path if context else "tickhouse", as_json="--json" in arguments)
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a reader like `head` left: nothing more to say
        return 0
