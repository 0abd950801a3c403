"""The way of the data: from messages through the gate to prices, with a held batch, a split, and what was known when."""

import marimo

app = marimo.App(width="full", css_file="quiet.css", app_title="tickhouse · tour")

with app.setup:
    from datetime import timedelta

    import marimo as mo

    from lake.settings import load_settings
    from notebooks import charts, opening, views


@app.cell
def _():
    settings = load_settings()
    return (settings,)


@app.cell
def _(settings):
    lake = opening.lake_of(settings)
    return (lake,)


@app.cell
def _():
    refresh = mo.ui.refresh(options=["2s", "5s", "30s"], default_interval="5s")
    return (refresh,)


@app.cell
def _(lake, refresh):
    ticked = refresh.value  # a tick reads the counts anew
    way = views.way(lake)
    runs = views.gate_runs(lake)
    held = views.held_batches(lake)
    return held, runs, ticked, way


@app.cell
def _(lake):
    known_splits = views.splits(lake)
    first = next((text for text in known_splits if text.startswith("AAPL")), next(iter(known_splits), None))
    which = mo.ui.dropdown(known_splits, value=first, label="split") if known_splits else None
    return (which,)


@app.cell
def _(lake, which):
    mo.stop(which is None)
    identity, ex_date = which.value
    around = {"start": ex_date - timedelta(days=28), "end": ex_date + timedelta(days=33)}
    traded = views.bars(lake, identity, **around).table
    days = sorted({*traded["session_date"].to_pylist(), ex_date - timedelta(days=33)})
    day = mo.ui.slider(start=0, stop=len(days) - 1, value=len(days) - 1, full_width=True, debounce=False)
    return around, day, days, ex_date, identity, traded


@app.cell
def _(around, day, days, ex_date, identity, lake, traded):
    known_as_of = days[day.value].isoformat()
    told = views.split_known(lake, identity, ex_date, known_as_of)
    view = views.bars_or_none(lake, identity, adjustment="splits", known_as_of=known_as_of, **around)
    adjusted = traded.slice(0, 0) if view is None else view.table
    seen = traded.slice(0, adjusted.num_rows)
    price_chart = charts.split(traded, adjusted, ex_date if told else None, currency=views.currency_of(traded))
    return adjusted, known_as_of, price_chart, seen, told


@app.cell
def _(held, refresh, runs, way):
    marks = {
        "messages kept": (way.messages, "every byte as received"),
        "facts decoded": (way.decoded, "and all accounted for" if way.adds_up else "THE COUNTS DO NOT ADD UP"),
        "published": (way.published, "passed the gate"),
        "repeated": (way.repeated, "delivered again, kept once"),
        "quarantined": (way.quarantined, "with reason and way back"),
        "held": (way.held, "wait for a decision"),
        "agreed bars": (way.adjusted["agreed_bars"], f"{way.adjusted['factors']:,} factors beside them"),
    }
    figures = "".join(f"<div><b>{count:,}</b>{name}<small>{words}</small></div>" for name, (count, words) in marks.items())
    cards = mo.Html(f'<div class="figures">{figures}</div>')
    title = mo.hstack([mo.md("## The way of the data"), refresh], justify="space-between", align="center")
    refused = held[0] if held else None
    words = (
        f"**A held batch.** {refused['rows']:,} rows of {refused['batch']} failed `{refused['failed']}`: {refused['outcome']}."
        if refused
        else "**No batch was refused** by the gate so far."
    )
    facts = mo.vstack([mo.md("**What became of every fact**"), charts.fates(way.fates)])
    audits = mo.vstack([mo.md(words), charts.gate(runs)])
    top = mo.vstack([title, cards, mo.hstack([facts, audits], widths=[1, 1], gap=1)], gap=0.6)
    return (top,)


@app.cell
def _(adjusted, day, known_as_of, price_chart, seen, told, top, which):
    if adjusted.num_rows:
        before, after = seen["close"][0].as_py().normalize(), adjusted["close"][0].as_py().normalize()
        first_day = f"{seen['session_date'][0]} closed at {before:f}, read as **{after:f}**; {seen.num_rows} sessions so far."
    else:
        first_day = "No session had come yet."
    beside = mo.vstack(
        [
            mo.md("**A split, and what was known when**"),
            which,
            mo.md(f"known as of **{known_as_of}**"),
            day,
            mo.md(f"The split: {told or 'not announced'}. {first_day}"),
            mo.md("Announced is not applied: prices change on the ex-date, not before."),
        ],
        gap=0.5,
    )
    mo.vstack([top, mo.hstack([beside, price_chart], widths=[0.29, 0.71], gap=1.5, align="start")], gap=0.4)
    return


@app.cell
def _(held, way):
    if mo.app_meta().mode == "script":
        print(*(f"{name}: {value}" for name, value in way.document().items()), sep="\n")
        print(*(f"held: {batch['rows']} rows of {batch['batch']}, {batch['outcome']}" for batch in held), sep="\n")
    return


if __name__ == "__main__":
    app.run()
