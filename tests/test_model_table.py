"""Models side by side."""

import pytest

import lmm


@pytest.fixture(scope="module")
def models():
    data = lmm.load_dataset("sleepstudy")
    small = lmm.lmer("Reaction ~ 1 + (1 | Subject)", data)
    return small, lmm.lmer("Reaction ~ Days + (Days | Subject)", data)


def test_numbers_are_those_of_the_models(models):
    frame = lmm.table(*models).to_frame()
    m = models[1]
    assert frame.columns.tolist() == ["Model 1", "95 % CI", "p", "Model 2", "95 % CI", "p"]
    row = frame.loc["Days"].tolist()
    tidy = m.tidy("fixed", ddf="satterthwaite", conf_int=True).set_index("term").loc["Days"]
    assert row[:3] == ["", "", ""]
    assert row[3] == f"{tidy['estimate']:.2f}"
    assert row[4] == f"[{tidy['conf.low']:.2f}, {tidy['conf.high']:.2f}]"
    assert row[5] == "<0.001"
    assert frame.loc["sd Residual", "Model 2"] == f"{m.sigma:.2f}"
    assert frame.loc["ICC", "Model 2"] == f"{lmm.icc(m).adjusted:.2f}"
    assert frame.loc["N Subject", "Model 1"] == "18"


def test_rows_of_later_models_stand_where_they_belong(models):
    rows = list(lmm.table(*models).rows)
    assert rows[:2] == ["(Intercept)", "Days"]
    assert rows[2:6] == [
        "sd (Intercept) | Subject",
        "cor (Intercept).Days | Subject",
        "sd Days | Subject",
        "sd Residual",
    ]


def test_numbers_are_rounded_for_readers():
    data = lmm.load_dataset("sleepstudy").assign(y=lambda d: d["Reaction"] / 1e6)
    frame = lmm.table(lmm.lmer("y ~ Days + (1 | Subject)", data)).to_frame()
    assert frame.loc["Days", "Estimate"] == "1e-05"
    assert frame.loc["Days", "p"] == "<0.001"


def test_options(models):
    made = lmm.table(
        models[1], names=["ms"], show="error", stars=True, rename={"Days": "Days awake"}, digits=1
    )
    assert made.headers == ("ms", "SE", "p")
    assert made.to_frame().loc["Days awake"].tolist() == ["10.5***", "1.5", "<0.001"]
    assert "Satterthwaite" in str(made)
    asked = lmm.table(models[1], ddf="kenward-roger", level=0.9)
    assert "Kenward and Roger" in str(asked)
    assert "90 % CI" in str(asked)
    assert "p" not in lmm.table(models[1], ddf=None, show="none").headers


def test_formats(models, tmp_path):
    docx = pytest.importorskip("docx")
    made = lmm.table(*models)
    assert made.to_markdown().startswith("|  | Model 1 |")
    assert r"\begin{tabular}" in made.to_latex()
    assert "<table" in made.to_html()
    path = tmp_path / "table.docx"
    made.to_docx(path)
    (grid,) = docx.Document(str(path)).tables
    assert grid.cell(2, 0).text == "Days"
    assert grid.cell(2, 4).text == made.to_frame().iloc[1, 3]


def test_mistakes(models):
    with pytest.raises(lmm.DataError, match="there is no model"):
        lmm.table()
    with pytest.raises(lmm.DataError, match="2 models need as many names, not 1"):
        lmm.table(*models, names=["one"])
    with pytest.raises(ValueError, match="show is 'ci'"):
        lmm.table(models[0], show="ci")
    with pytest.raises(TypeError, match="a fitted model is needed"):
        lmm.table("m")
