"""What data sets are shipped, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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
    rows : int
        Number of rows.
    columns : tuple of str
        Column names, in order.
    """

    name: str
    title: str
    source: str
    rows: int
    columns: tuple[str, ...]


_PINHEIRO_BATES = "Pinheiro & Bates (2000), Mixed-Effects Models in S and S-PLUS, appendix"
_DAVIES_GOLDSMITH = "Davies & Goldsmith (1972), Statistical Methods in Research and Production"

DATASETS: dict[str, DataSet] = {
    dataset.name: dataset
    for dataset in (
        DataSet(
            "Arabidopsis",
            "Fruits of thale cress plants after clipping and fertilization",
            "R package lme4; Banta, Stevens & Pigliucci (2010), Oikos 119, 359-369",
            625,
            ("reg", "popu", "gen", "rack", "nutrient", "amd", "status", "total.fruits"),
        ),
        DataSet(
            "Dyestuff",
            "Yield of dyestuff from five preparations of each of six batches",
            f"R package lme4; {_DAVIES_GOLDSMITH}, section 6.4",
            30,
            ("Batch", "Yield"),
        ),
        DataSet(
            "Dyestuff2",
            "Simulated yields whose variance between batches is estimated as zero",
            "R package lme4; Box & Tiao (1973), Bayesian Inference in Statistical Analysis, "
            "section 5.1.2",
            30,
            ("Batch", "Yield"),
        ),
        DataSet(
            "Exam",
            "Exam scores of pupils in 65 inner London schools",
            "R package mlmRev; Goldstein, Rasbash et al. (1993), "
            "Oxford Review of Education 19, 425-433",
            4059,
            (
                "school",
                "normexam",
                "schgend",
                "schavg",
                "vr",
                "intake",
                "standLRT",
                "sex",
                "type",
                "student",
            ),
        ),
        DataSet(
            "InstEval",
            "Ratings of university lecturers by students at ETH Zurich",
            "R package lme4",
            73421,
            ("s", "d", "studage", "lectage", "service", "dept", "y"),
        ),
        DataSet(
            "Machines",
            "Productivity of six workers on three machines",
            f"R package nlme; {_PINHEIRO_BATES} A.14",
            54,
            ("Worker", "Machine", "score"),
        ),
        DataSet(
            "Oats",
            "Split-plot trial of oat varieties and nitrogen",
            f"R package nlme; {_PINHEIRO_BATES} A.15",
            72,
            ("Block", "Variety", "nitro", "yield"),
        ),
        DataSet(
            "Orthodont",
            "Growth of the distance from pituitary to pterygomaxillary fissure in children",
            f"R package nlme; {_PINHEIRO_BATES} A.17; Potthoff & Roy (1964), "
            "Biometrika 51, 313-326",
            108,
            ("distance", "age", "Subject", "Sex"),
        ),
        DataSet(
            "Oxboys",
            "Heights of boys in Oxford",
            f"R package nlme; {_PINHEIRO_BATES} A.19",
            234,
            ("Subject", "age", "height", "Occasion"),
        ),
        DataSet(
            "Pastes",
            "Strength of a chemical paste by batch and cask",
            f"R package lme4; {_DAVIES_GOLDSMITH}, section 6.5",
            60,
            ("strength", "batch", "cask", "sample"),
        ),
        DataSet(
            "Penicillin",
            "Penicillin potency of six samples measured on 24 plates",
            f"R package lme4; {_DAVIES_GOLDSMITH}, section 6.6",
            144,
            ("diameter", "plate", "sample"),
        ),
        DataSet(
            "Pixel",
            "X-ray pixel intensities of dogs' lymph nodes over time",
            f"R package nlme; {_PINHEIRO_BATES}",
            102,
            ("Dog", "Side", "day", "pixel"),
        ),
        DataSet(
            "ScotsSec",
            "Attainment of pupils by primary and secondary school in Fife, Scotland",
            "R package mlmRev; Paterson (1991), Evaluation and Research in Education 5, 97-121",
            3435,
            ("verbal", "attain", "primary", "sex", "social", "second"),
        ),
        DataSet(
            "Sitka",
            "Growth of Sitka spruce trees with and without ozone",
            "R package MASS; Diggle, Liang & Zeger (1994), Analysis of Longitudinal Data",
            395,
            ("size", "Time", "tree", "treat"),
        ),
        DataSet(
            "cake",
            "Breaking angle of chocolate cakes by recipe and baking temperature",
            "R package lme4; Cook (1938), Master's thesis, Iowa State College; "
            "Cochran & Cox (1957), Experimental Designs, p. 300",
            270,
            ("replicate", "recipe", "temperature", "angle", "temp"),
        ),
        DataSet(
            "cbpp",
            "Contagious bovine pleuropneumonia in Ethiopian herds",
            "R package lme4; Lesnoff et al. (2004), Preventive Veterinary Medicine 64, 27-40",
            56,
            ("herd", "incidence", "size", "period"),
        ),
        DataSet(
            "dietox",
            "Weekly weights of pigs fed vitamin E and copper",
            "R package geepack; Lauridsen, Højsgaard & Sørensen (1999), "
            "Journal of Animal Science 77, 906-916",
            861,
            ("Pig", "Evit", "Cu", "Litter", "Start", "Weight", "Feed", "Time"),
        ),
        DataSet(
            "ergoStool",
            "Effort to arise from four types of stool",
            f"R package nlme; {_PINHEIRO_BATES} A.9",
            36,
            ("effort", "Type", "Subject"),
        ),
        DataSet(
            "ham",
            "Consumers' liking of Norwegian and Spanish hams with and without information",
            "R package lmerTest; Næs, Lengard, Bølling Johansen & Hersleth (2010), "
            "Food Quality and Preference 21, 368-378",
            648,
            ("Consumer", "Product", "Informed.liking", "Information", "Gender", "Age"),
        ),
        DataSet(
            "sleepstudy",
            "Reaction times of truck drivers over ten days of sleep deprivation",
            "R package lme4; Belenky et al. (2003), Journal of Sleep Research 12, 1-12",
            180,
            ("Reaction", "Days", "Subject"),
        ),
    )
}
