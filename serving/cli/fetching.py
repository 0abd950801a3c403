"""The verb that fetches files from the providers that give files: Databento's ranges, IEX's HIST captures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lake.errors import InvalidValueError, ProviderUnavailableError
from serving.choices import From
from serving.cli.options import Home, Json, instant, open_lake, open_log
from serving.cli.output import Output

if TYPE_CHECKING:
    from serving.operate.fetching import Fetched


def add_to(app: typer.Typer) -> None:
    """Register the verb of this module."""
    app.command("fetch", rich_help_panel="Bring data in")(fetch)


def fetch(
    provider: Annotated[str, typer.Argument(help="databento or iex.")],
    feed: Annotated[str, typer.Argument(help="A dataset like XNAS.ITCH; of iex tops or deep.")],
    start: Annotated[str, typer.Option("--start", help="Included; of iex the day.")],
    end: Annotated[str | None, typer.Option("--end", help="Not included.", show_default=False)] = None,
    symbols: Annotated[
        list[str] | None, typer.Option("--symbol", "-s", help="Of databento; may be given several times.", show_default=False)
    ] = None,
    schema: Annotated[str, typer.Option("--schema", help="Of databento.")] = "trades",
    cost: Annotated[bool, typer.Option("--cost", help="Of databento: tell the price and fetch nothing.")] = False,
    symbology: Annotated[
        bool,
        typer.Option("--symbology", help="Of databento: keep which numbers the symbols had on those days, fetch no records."),
    ] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the files (default: downloads in the lake's).")] = None,
    home: Home = None,
    source: Annotated[From, typer.Option("--from", help="The simulator on loopback, or the provider itself.")] = From.SIMULATOR,
    json: Json = False,
) -> None:
    """Download a provider's file, resumed where it broke off, and import it; `land` and `promote`, or `up`, move it on."""
    from serving.operate import fetching

    output = Output(as_json=json)
    begins, ends = instant(start), instant(end)
    if begins is None or (provider == "databento" and ends is None):
        raise InvalidValueError("databento is fetched over a window: --start and --end")
    output.say_who_answers(source)
    with open_lake(home) as lake, output.working(f"Fetching from {provider}"):
        wanted = fetching.Wanted(
            provider, feed, schema, tuple(symbols or ()), begins, ends, to or lake.settings.home / "downloads"
        )
        with fetching.reached(source) as reach:
            act = fetching.priced if cost else fetching.resolved if symbology else fetching.fetched
            found = act(lake, open_log(lake.settings), wanted, reach)
    _tell(output, found)


def _tell(output: Output, found: Fetched) -> None:
    output.answer(found.document(), lambda console: console.print(found.words()))
    if not found.is_ok:
        raise ProviderUnavailableError(f"{found.verdict}: {found.detail}", 0.0)
