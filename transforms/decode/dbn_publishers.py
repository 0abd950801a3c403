"""Databento's publishers: which dataset and venue a record's number stands for, and what is known of the venue.

Source: github.com/databento/dbn, rust/dbn/src/publishers.rs (Apache-2.0), as of DBN 0.55: 107 publishers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_DATASETS: Final = """
GLBX.MDP3 GLBX=1
XNAS.ITCH XNAS=2
XBOS.ITCH XBOS=3
XPSX.ITCH XPSX=4
BATS.PITCH BATS=5
BATY.PITCH BATY=6
EDGA.PITCH EDGA=7
EDGX.PITCH EDGX=8
XNYS.PILLAR XNYS=9
XCIS.PILLAR XCIS=10
XASE.PILLAR XASE=11
XCHI.PILLAR XCHI=12
XCIS.BBO XCIS=13
XCIS.TRADES XCIS=14
MEMX.MEMOIR MEMX=15
EPRL.DOM EPRL=16
XNAS.NLS FINN=17 FINC=18 XNAS=47 XBOS=86 XPSX=87
XNYS.TRADES FINY=19 XNYS=45 EQUS=96
OPRA.PILLAR AMXO=20 XBOX=21 XCBO=22 EMLD=23 EDGO=24 GMNI=25 XISX=26 MCRY=27 XMIO=28 ARCO=29 OPRA=30 MPRL=31 XNDQ=32 XBXO=33
OPRA.PILLAR C2OX=34 XPHL=35 BATO=36 MXOP=37 SPHR=61
IEXG.TOPS IEXG=38
DBEQ.BASIC XCHI=39 XCIS=40 IEXG=41 EPRL=42 DBEQ=59
ARCX.PILLAR ARCX=43
XNYS.BBO XNYS=44
XNAS.QBBO XNAS=46
EQUS.PLUS XCHI=48 XCIS=49 IEXG=50 EPRL=51 XNAS=52 XNYS=53 FINN=54 FINY=55 FINC=56 EQUS=60
IFEU.IMPACT IFEU=57 XOFF=84
NDEX.IMPACT NDEX=58 XOFF=85
EQUS.ALL XCHI=62 XCIS=63 IEXG=64 EPRL=65 XNAS=66 XNYS=67 FINN=68 FINY=69 FINC=70 BATS=71 BATY=72 EDGA=73 EDGX=74 XBOS=75
EQUS.ALL XPSX=76 MEMX=77 XASE=78 ARCX=79 LTSE=80 EQUS=94
XNAS.BASIC XNAS=81 FINN=82 FINC=83 XBOS=88 XPSX=89 EQUS=93
EQUS.SUMMARY EQUS=90
XCIS.TRADESBBO XCIS=91
XNYS.TRADESBBO XNYS=92
EQUS.MINI EQUS=95
IFUS.IMPACT IFUS=97 XOFF=98
IFLL.IMPACT IFLL=99 XOFF=100
XEUR.EOBI XEUR=101 XOFF=103
XEEE.EOBI XEEE=102 XOFF=104
XCBF.PITCH XCBF=105 XOFF=106
OCEA.MEMOIR OCEA=107
"""
_NO_MICS: Final = frozenset({"DBEQ", "EQUS", "OPRA"})
"""Databento's and OPRA's names for a market as a whole."""
_ZONES: Final = {
    **dict.fromkeys(("GLBX", "XCBF"), "America/Chicago"),
    **dict.fromkeys(("IFEU", "IFLL"), "Europe/London"),
    "NDEX": "Europe/Amsterdam",
    **dict.fromkeys(("XEUR", "XEEE"), "Europe/Berlin"),
}
_NEW_YORK: Final = "America/New_York"
_FUTURES: Final = frozenset({"GLBX", "IFEU", "IFUS", "IFLL", "NDEX", "XEUR", "XEEE", "XCBF"})


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who sent a record.

    venue           the venue's code, or the number where it is unknown
    mic             the venue's MIC; None for a market as a whole
    is_whole        True where the record is of all the dataset covers, not of one venue among several
    asset_class     equity, option or future, by the dataset
    exchange        US where its shares are listed in the United States
    """

    dataset: str
    venue: str
    mic: str | None
    is_whole: bool
    asset_class: str | None
    exchange: str | None
    zone: str


@lru_cache(maxsize=4096)
def publisher(number: int, dataset: str) -> Publisher:
    """Return who `number` is in a file of `dataset`; an unknown number takes the dataset's first part as its market."""
    known = _venues().get(number)
    home = dataset.partition(".")[0]
    venue = str(number) if known is None else known[1]
    whole = known is None or venue == (known[0] if known is not None else dataset).partition(".")[0]
    asset_class = "option" if home == "OPRA" else "future" if home in _FUTURES else None
    is_us = asset_class is None and home != "OCEA"
    mic = None if known is None or venue in _NO_MICS else venue
    return Publisher(dataset, venue, mic, whole, asset_class, "US" if is_us else None, _ZONES.get(home, _NEW_YORK))


@lru_cache(maxsize=256)
def home_of(dataset: str) -> Publisher:
    """Return the venue that a dataset is named after; of one of several venues, or of an unknown one, its market as a whole."""
    home = dataset.partition(".")[0]
    return publisher(next((number for number, told in _venues().items() if told == (dataset, home)), 0), dataset)


@lru_cache(maxsize=1)
def _venues() -> dict[int, tuple[str, str]]:
    """Return number -> (dataset, venue)."""
    found: dict[int, tuple[str, str]] = {}
    for line in _DATASETS.split("\n"):
        dataset, _, venues = line.partition(" ")
        for word in venues.split():
            venue, _, number = word.partition("=")
            found[int(number)] = (dataset, venue)
    return found


def partial_datasets() -> tuple[str, ...]:
    """Return the datasets of a part of the US stock market: all of them but the summary, which is of every trade."""
    found = {dataset for dataset, _ in _venues().values() if dataset.partition(".")[0] not in {*_FUTURES, "OPRA"}}
    return tuple(sorted(found - {"EQUS.SUMMARY"}))
