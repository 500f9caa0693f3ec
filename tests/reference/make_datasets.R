# The shipped data sets, exported from the R packages that publish them.
#   Rscript make_datasets.R OUT_DIR
# Writes OUT_DIR/<name>.csv and OUT_DIR/<name>.levels.json (each factor's levels in R's order).
# Ordered factors are exported as plain factors with the same levels.
library(jsonlite)
packages <- c(
  Arabidopsis = "lme4", Dyestuff = "lme4", Dyestuff2 = "lme4", InstEval = "lme4", Pastes = "lme4",
  Penicillin = "lme4", cake = "lme4", cbpp = "lme4", sleepstudy = "lme4",
  Machines = "nlme", Oats = "nlme", Orthodont = "nlme", Oxboys = "nlme", Pixel = "nlme", ergoStool = "nlme",
  Exam = "mlmRev", ScotsSec = "mlmRev", Sitka = "MASS", dietox = "geepack", ham = "lmerTest")
out <- commandArgs(TRUE)[1]
dir.create(out, recursive = TRUE, showWarnings = FALSE)
for (name in names(packages)) {
  data(list = name, package = packages[[name]])
  d <- as.data.frame(get(name)); class(d) <- "data.frame"
  write.csv(d, file.path(out, paste0(name, ".csv")), row.names = FALSE)
  factors <- Filter(is.factor, d)
  json <- toJSON(lapply(factors, function(f) I(levels(f))))
  writeLines(gsub("],", "],\n ", json, fixed = TRUE), file.path(out, paste0(name, ".levels.json")))
}
