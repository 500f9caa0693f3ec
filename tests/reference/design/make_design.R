# Model matrices, term orders and levels of R, for tests/design.
# Rscript make_design.R  (R 4.2.2, lme4 1.1-31, jsonlite) writes design.json beside this script.
suppressMessages(library(lme4))
library(splines)
library(jsonlite)

set.seed(20)
n <- 36
d <- data.frame(
  y = round(rnorm(n, 10, 3), 4), x = round(runif(n, 1, 9), 4), z = round(rnorm(n), 4),
  year = 2000 + rep(0:8, 4), k = rep(1:6, 6),
  f = factor(rep(c("u", "v", "w"), 12)), g = factor(sample(c("a", "b"), n, TRUE)),
  h = factor(sample(c("p", "q", "r", "s"), n, TRUE)),
  o = factor(rep(c("low", "mid", "high", "top"), each = 9), c("low", "mid", "high", "top"), ordered = TRUE),
  o5 = factor(rep_len(c(1, 2, 3, 4, 5), n), ordered = TRUE),
  flag = rep(c(TRUE, FALSE, TRUE), 12), txt = rep(c("beta", "alpha", "gamma", "delta"), 9),
  yield = round(rnorm(n), 4), class = round(rnorm(n), 4), size = round(rnorm(n), 4),
  sample = factor(rep(c("s1", "s2"), 18)), C = round(rnorm(n), 4), I = round(rnorm(n), 4),
  log = round(runif(n, 1, 2), 4), check.names = FALSE)
d[["my var"]] <- round(rnorm(n), 4)
d[["my f"]] <- factor(rep(c("e1", "e2"), each = 18))

fixed <- c(
  "y ~ x", "y ~ 1", "y ~ 0 + x", "y ~ x - 1", "y ~ f", "y ~ 0 + f", "y ~ f - 1", "y ~ f + h", "y ~ 0 + f + h",
  "y ~ f * h", "y ~ f:h", "y ~ 0 + f:h", "y ~ x:f", "y ~ 0 + x:f", "y ~ f + x:f", "y ~ f/x", "y ~ f %in% g",
  "y ~ g/f", "y ~ (f + g + h)^2", "y ~ (f + g + h)^2 - f:g", "y ~ f*g*x", "y ~ x + f + x:g + f:g",
  "y ~ h:f + f", "y ~ f:g + f:h", "y ~ f:g:h + f:g", "y ~ x:f + g:x", "y ~ 0 + x + g:f + f",
  "y ~ o", "y ~ 0 + o", "y ~ o5", "y ~ o*x", "y ~ o:f", "y ~ flag", "y ~ flag*x", "y ~ 0 + flag + f",
  "y ~ txt", "y ~ txt:x", "y ~ I(x^2)", "y ~ x + I(x^2) + I(x * z)", "y ~ I(x > 5)", "y ~ I(x > 5):f", "y ~ (x > 5) + z",
  "y ~ log(x) + exp(z) + sqrt(x) + abs(z)", "y ~ log2(x) + log10(x) + log1p(x) + expm1(z)", "y ~ log(x, 3) + log(x, base = 2)",
  "y ~ sin(x) + cos(x) + tan(x)", "y ~ poly(x, 2)", "y ~ poly(x, 3, raw = TRUE)", "y ~ poly(x, 1)", "y ~ poly(year, 3)",
  "y ~ poly(x, degree = 2):f", "y ~ ns(x, 3)", "y ~ ns(x, df = 4)", "y ~ ns(x, knots = c(3, 6))", "y ~ ns(x)",
  "y ~ ns(x, df = 3, intercept = TRUE)", "y ~ ns(x, df = 2, Boundary.knots = c(2, 8))", "y ~ splines::ns(x, 2)",
  "y ~ bs(x)", "y ~ bs(x, df = 5)", "y ~ bs(x, knots = 4)", "y ~ bs(x, degree = 2, df = 4)", "y ~ bs(x, df = 5, intercept = TRUE)",
  "y ~ scale(x)", "y ~ scale(x, scale = FALSE)", "y ~ scale(x, center = FALSE)", "y ~ scale(x) * f", "y ~ I(scale(x)^2)",
  "y ~ scale(cbind(x, z))", "y ~ cbind(x, z)", "y ~ cbind(a = x, log(x))", "y ~ factor(k)", "y ~ as.factor(k) + x", "y ~ factor(k):x",
  "y ~ factor(f, levels = c(\"w\", \"u\", \"v\"))", "y ~ ordered(k)", "y ~ relevel(f, ref = \"v\")", "y ~ as.numeric(f)", "y ~ as.numeric(flag)",
  "y ~ C(f, contr.sum)", "y ~ C(f, contr.helmert) * g", "y ~ C(o, contr.treatment)", "y ~ C(f, contr.SAS)",
  "y ~ cut(x, 3)", "y ~ cut(x, c(0, 3, 6, 9))", "y ~ cut(x, breaks = c(0, 3, 6, 9), right = FALSE)", "y ~ interaction(f, g)",
  "y ~ ifelse(x > 5, 1, 0)", "y ~ ifelse(f == \"u\", x, 0)", "y ~ pmin(x, 5) + pmax(x, 5)", "y ~ I(x %/% 2) + I(x %% 2)", "y ~ I((x - 5) * (x > 5))",
  "y ~ I(x - mean(x))", "y ~ I(-x) + I(x/2 + z)", "y ~ I(f %in% c(\"u\", \"v\"))", "y ~ I(x > 3 & z < 0)", "y ~ I(!flag)", "y ~ I(2^-x)",
  "y ~ yield + class + size + sample", "y ~ C + I + log", "y ~ C(sample, contr.sum) + I(I^2) + log(log)", "y ~ `my var` * `my f`", "y ~ I(`my var`^2)",
  "y ~ dummy(f, \"v\")", "y ~ dummy(f, c(\"u\", \"v\"))", "y ~ dummy(f)", "y ~ x + I(2 * x)", "y ~ x + z + I(x + z) + f + I(x - z)", "y ~ f + interaction(f, g) + g",
  "log(y) ~ x", "y ~ x + z + x", "y ~ x^2", "y ~ f + f:x + x", "y ~ round(x, 1)", "y ~ x + offset(z)")
contrasts <- list(
  list("y ~ f", list(f = "contr.sum")), list("y ~ f * g", list(f = "contr.sum", g = "contr.helmert")),
  list("y ~ h + x:h", list(h = "contr.helmert")), list("y ~ o", list(o = "contr.treatment")), list("y ~ f", list(f = "contr.poly")),
  list("y ~ 0 + f + h", list(h = "contr.sum", f = "contr.sum")), list("y ~ f:x", list(f = "contr.sum")), list("y ~ f", list(f = "contr.SAS")))

columns <- function(formula, contrasts = NULL) {
  # A random intercept for the numbers of rows to suit; lFormula drops dependent columns.
  full <- model.matrix(as.formula(formula), d, contrasts)
  tt <- terms(as.formula(formula))
  factors <- attr(tt, "factors")
  kept <- suppressMessages(suppressWarnings(colnames(lFormula(
    as.formula(paste(formula, "+ (1 | k)")), d, contrasts = contrasts)$X)))
  list(formula = formula, contrasts = contrasts, names = I(colnames(full)), assign = I(attr(full, "assign")),
       labels = I(attr(tt, "term.labels")), values = unname(split(unname(full), col(full))), kept = I(kept),
       factors = if (length(factors)) apply(factors, 1, I, simplify = FALSE)[-1] else list())
}
shown <- function(formula) {
  r <- suppressMessages(suppressWarnings(lFormula(as.formula(formula), d, control = lmerControl(
    check.nobs.vs.nRE = "ignore", check.nobs.vs.nlev = "ignore"))))
  t <- r$reTrms
  list(formula = formula, terms = I(names(t$Ztlist)), groups = I(names(t$cnms)), columns = lapply(unname(t$cnms), I),
       levels = lapply(t$flist, levels), theta = I(t$theta),
       Zt = list(i = t$Zt@i, p = t$Zt@p, x = t$Zt@x), dim = dim(t$Zt))
}
random <- c(
  "y ~ x + (1 | f)", "y ~ x + (x | h)", "y ~ (0 + x | h)", "y ~ (x - 1 | h)", "y ~ x + (x || h)", "y ~ (x * z || h)", "y ~ (1 | f/g)", "y ~ (1 | f/g/flag)",
  "y ~ (1 | f:g)", "y ~ (1 | g:f)", "y ~ (x | f/g)", "y ~ (x || f/g)", "y ~ (1 | f) + (1 | g) + (1 | h)", "y ~ (1 | f) + (1 | h) + (1 | g)",
  "y ~ (1 | h) + (1 | f) + (1 | g)", "y ~ (1 | f) + (0 + x | f) + (1 | h)", "y ~ (1 | f) + (0 + x | f) + (1 | g)", "y ~ (x || f) + (1 | h)",
  "y ~ (1 | f/g) + (1 | h)", "y ~ (f | h)", "y ~ (0 + f | h)", "y ~ (f:g | k)", "y ~ (o | k)", "y ~ (x * z | h)", "y ~ (poly(x, 2) | h)", "y ~ (f * x | k)",
  "y ~ (dummy(f, \"v\") | h)", "y ~ (0 + dummy(f, \"v\") | h)", "y ~ (1 | txt)", "y ~ (1 | k)", "y ~ (1 | flag)", "y ~ (1 | f) + (1 | f)", "y ~ (x | f) + (z | f)",
  "y ~ (1 | year)", "y ~ (1 | o)", "y ~ (1 | f:g:h)", "y ~ (1 | txt:k)", "y ~ (1 | `my f`)", "y ~ (1 | `my f`:f)", "y ~ (flag | h)", "y ~ (log(x) | h)", "y ~ (scale(x) | h)", "y ~ 0 + (1 | h)")

# New rows: values beyond the range of the data, few of the levels, none of some.
new <- data.frame(
  x = c(0.5, 3, 7.25, 10), z = c(-1, 0, 1, 2), year = c(1999, 2003, 2009, 2020), k = c(6L, 1L, 3L, 3L),
  f = factor(c("w", "w", "u", "w")), g = factor(c("b", "b", "b", "b")), h = factor(c("s", "q", "s", "p")),
  o = factor(c("top", "low", "high", "low"), c("low", "mid", "high", "top"), ordered = TRUE),
  flag = c(TRUE, TRUE, TRUE, TRUE), txt = c("gamma", "beta", "gamma", "delta"))
predicted <- c(
  "y ~ x", "y ~ f * x", "y ~ 0 + f + h", "y ~ o", "y ~ flag * g", "y ~ txt", "y ~ poly(x, 3)", "y ~ poly(year, 2)", "y ~ poly(x, 2, raw = TRUE)", "y ~ scale(x)",
  "y ~ scale(x, scale = FALSE):f", "y ~ ns(x, 3)", "y ~ ns(x, df = 2, intercept = TRUE)", "y ~ ns(x, knots = c(3, 6))", "y ~ bs(x, df = 5)", "y ~ bs(x, degree = 2)",
  "y ~ factor(k)", "y ~ C(f, contr.sum)", "y ~ log(x) + I(x^2)", "y ~ I(x > 5)")
at_new_rows <- function(formula) {
  m <- lm(as.formula(formula), d)
  X <- suppressWarnings(model.matrix(delete.response(terms(m)), model.frame(
    delete.response(terms(m)), new, xlev = m$xlevels), contrasts.arg = m$contrasts))
  list(formula = formula, names = colnames(X), values = unname(split(unname(X), col(X))))
}

columnwise <- function(d) lapply(d, function(v) {
  if (is.factor(v)) list(values = as.character(v), levels = I(levels(v)), ordered = is.ordered(v)) else list(values = v)
})
out <- list(
  r = R.version.string, lme4 = as.character(packageVersion("lme4")), data = columnwise(d), new = columnwise(new),
  fixed = c(lapply(fixed, columns), lapply(contrasts, function(p) columns(p[[1]], p[[2]]))),
  random = lapply(random, shown), predicted = lapply(predicted, at_new_rows))
writeLines(toJSON(out, digits = NA, auto_unbox = TRUE, null = "null"), "design.json")
