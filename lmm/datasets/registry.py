"""What data sets are shipped, and where each comes from."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from io import StringIO
from typing import IO


@dataclass(frozen=True)
class DataSet:
    """Description of one shipped data set.

    Attributes
    ----------
    name : str
        Name under which R publishes it, and `load_dataset` finds it.
    title : str
        One line on what was measured.
    source : str
        The R package it was exported from, and the publication behind it.
    """

    name: str
    title: str
    source: str

    def open(self) -> IO[str]:
        """The CSV file, to be read as text."""
        folder = files("lmm.datasets") / "data"
        packed = folder / f"{self.name}.csv.gz"
        if packed.is_file():
            return StringIO(gzip.decompress(packed.read_bytes()).decode("utf-8"))
        return (folder / f"{self.name}.csv").open(encoding="utf-8")

    @cached_property
    def rows(self) -> int:
        """Number of rows."""
        with self.open() as file:
            return sum(1 for _ in file) - 1

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Column names, in order."""
        with self.open() as file:
            return tuple(next(csv.reader(file)))


_PINHEIRO_BATES = "Pinheiro & Bates (2000), Mixed-Effects Models in S and S-PLUS, appendix"
_DAVIES_GOLDSMITH = "Davies & Goldsmith (1972), Statistical Methods in Research and Production"

DATASETS: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        DataSet(
            "Arabidopsis",
            "Fruits of thale cress plants after clipping and fertilization",
            "R package lme4; Banta, Stevens & Pigliucci (2010), Oikos 119, 359-369",
        ),
        DataSet(
            "Dyestuff",
            "Yield of dyestuff from five preparations of each of six batches",
            f"R package lme4; {_DAVIES_GOLDSMITH}, section 6.4",
        ),
        DataSet(
            "Dyestuff2",
            "Simulated yields whose variance between batches is estimated as zero",
            "R package lme4; Box & Tiao (1973), Bayesian Inference in Statistical Analysis, "
            "section 5.1.2",
        ),
        DataSet(
            "Exam",
            "Exam scores of pupils in 65 inner London schools",
            "R package mlmRev; Goldstein, Rasbash et al. (1993), "
            "Oxford Review of Education 19, 425-433",
        ),
        DataSet(
            "InstEval",
            "Ratings of university lecturers by students at ETH Zurich",
            "R package lme4",
        ),
        DataSet(
            "Machines",
            "Productivity of six workers on three machines",
            f"R package nlme; {_PINHEIRO_BATES} A.14",
        ),
        DataSet(
            "Oats",
            "Split-plot trial of oat varieties and nitrogen",
            f"R package nlme; {_PINHEIRO_BATES} A.15",
        ),
        DataSet(
            "Orthodont",
            "Growth of the distance from pituitary to pterygomaxillary fissure in children",
            f"R package nlme; {_PINHEIRO_BATES} A.17; Potthoff & Roy (1964), "
            "Biometrika 51, 313-326",
        ),
        DataSet("Oxboys", "Heights of boys in Oxford", f"R package nlme; {_PINHEIRO_BATES} A.19"),
        DataSet(
            "Pastes",
            "Strength of a chemical paste by batch and cask",
            f"R package lme4; {_DAVIES_GOLDSMITH}, section 6.5",
        ),
        DataSet(
            "Penicillin",
            "Penicillin potency of six samples measured on 24 plates",
            f"R package lme4; {_DAVIES_GOLDSMITH}, section 6.6",
        ),
        DataSet(
            "Pixel",
            "X-ray pixel intensities of dogs' lymph nodes over time",
            f"R package nlme; {_PINHEIRO_BATES}",
        ),
        DataSet(
            "ScotsSec",
            "Attainment of pupils by primary and secondary school in Fife, Scotland",
            "R package mlmRev; Paterson (1991), Evaluation and Research in Education 5, 97-121",
        ),
        DataSet(
            "Sitka",
            "Growth of Sitka spruce trees with and without ozone",
            "R package MASS; Diggle, Liang & Zeger (1994), Analysis of Longitudinal Data",
        ),
        DataSet(
            "cake",
            "Breaking angle of chocolate cakes by recipe and baking temperature",
            "R package lme4; Cook (1938), Master's thesis, Iowa State College; "
            "Cochran & Cox (1957), Experimental Designs, p. 300",
        ),
        DataSet(
            "cbpp",
            "Contagious bovine pleuropneumonia in Ethiopian herds",
            "R package lme4; Lesnoff et al. (2004), Preventive Veterinary Medicine 64, 27-40",
        ),
        DataSet(
            "dietox",
            "Weekly weights of pigs fed vitamin E and copper",
            "R package geepack; Lauridsen, Højsgaard & Sørensen (1999), "
            "Journal of Animal Science 77, 906-916",
        ),
        DataSet(
            "ergoStool",
            "Effort to arise from four types of stool",
            f"R package nlme; {_PINHEIRO_BATES} A.9",
        ),
        DataSet(
            "ham",
            "Consumers' liking of Norwegian and Spanish hams with and without information",
            "R package lmerTest; Næs, Lengard, Bølling Johansen & Hersleth (2010), "
            "Food Quality and Preference 21, 368-378",
        ),
        DataSet(
            "sleepstudy",
            "Reaction times of truck drivers over ten days of sleep deprivation",
            "R package lme4; Belenky et al. (2003), Journal of Sleep Research 12, 1-12",
        ),
    )
}
