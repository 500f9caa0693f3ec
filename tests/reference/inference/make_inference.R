# Tests of fixed and random effects in R, and the tables they were made from.
#   Rscript make_inference.R       (in this folder; R 4.2.2, lmerTest 3.1-3, pbkrtest 0.5.2)
# Writes inference.json and data/<name>.csv .
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest); library(jsonlite)})
options(width = 80)
dir.create("data", showWarnings = FALSE)
data(carrots, package = "lmerTest"); data(beets, package = "pbkrtest"); data(ham, package = "lmerTest")
carrots <- carrots[c("Consumer", "Homesize", "sens1", "sens2", "Preference")]
set.seed(2)
n <- 90
unbalanced <- data.frame(
  A = factor(sample(c("a", "b", "c"), n, TRUE)), B = factor(sample(c("u", "v"), n, TRUE, c(.7, .3))),
  C = factor(sample(c("p", "q", "r"), n, TRUE)), x = round(rnorm(n), 2), z = round(runif(n), 2) + .1,
  g = factor(sample(1:12, n, TRUE)), h = factor(sample(1:8, n, TRUE)), w = sample(1:4, n, TRUE))
unbalanced$y <- round(rnorm(12)[unbalanced$g] + .8 * rnorm(8)[unbalanced$h] +
  as.integer(unbalanced$A) * (unbalanced$B == "u") + unbalanced$x * (1 + .5 * rnorm(12)[unbalanced$g]) + rnorm(n), 2)
missing_cell <- subset(unbalanced, !(A == "c" & B == "v"))
flat <- unbalanced; set.seed(5); flat$y <- round(rnorm(n), 2)
tables <- list(unbalanced = unbalanced, missing_cell = missing_cell, flat = flat, carrots = carrots, beets = beets)
for (name in names(tables)) write.csv(as.data.frame(tables[[name]]), file.path("data", paste0(name, ".csv")), row.names = FALSE)
ordered <- unbalanced; ordered$C <- factor(ordered$C, ordered = TRUE)
tables$ordered <- ordered; tables$ham <- ham; tables$sleepstudy <- sleepstudy

tight <- lmerControl(optimizer = "bobyqa", calc.derivs = FALSE, optCtrl = list(rhoend = 1e-10, maxfun = 1e5),
  check.rankX = "silent.drop.cols")
list2env(tables, globalenv())
# step() and ranova() evaluate the call again: it must name its data
fit <- function(formula, data, ...) suppressMessages(suppressWarnings(do.call(lmerTest::lmer,
  list(formula = as.formula(formula), data = as.name(data), control = quote(tight), ...))))
frame <- function(x) { x <- as.data.frame(x); list(rows = I(rownames(x)), cols = I(colnames(x)), values = unname(lapply(seq_len(nrow(x)), function(i) I(unname(unlist(x[i, ])))))) }
text <- function(x) I(capture.output(print(x)))
case <- function(formula, data, contrasts = NULL, weights = NULL, REML = TRUE, kr = TRUE, ls = TRUE) {
  d <- tables[[data]]
  args <- list(formula = as.formula(formula), data = quote(d), REML = REML, control = tight)
  if (!is.null(contrasts)) args$contrasts <- contrasts
  if (!is.null(weights)) args$weights <- as.name(weights)
  m <- suppressMessages(suppressWarnings(do.call(lmerTest::lmer, args)))
  r <- list(formula = formula, data = data, contrasts = contrasts, weights = weights, reml = REML,
    criterion = if (REML) REMLcrit(m) else deviance(m), coefficients = list())
  for (ddf in c("Satterthwaite", if (kr && REML) "Kenward-Roger")) {
    r$coefficients[[ddf]] <- frame(coef(summary(m, ddf = ddf)))
    for (type in c("I", "II", "III")) r$anova[[ddf]][[type]] <- frame(suppressMessages(anova(m, type = type, ddf = ddf)))
  }
  a <- suppressMessages(anova(m))
  r$hypotheses <- lapply(show_tests(a), frame)
  r$text <- text(a)
  r$drop1 <- tryCatch(frame(drop1(m)), error = function(e) NULL)
  if (ls) r$ls_means <- tryCatch({ l <- ls_means(m); d <- difflsmeans(m); list(means = frame(l), differences = frame(d), text = text(l)) }, error = function(e) NULL)
  r
}
models <- list(
  case("y ~ A*B + x + (1|g)", "unbalanced"),
  case("y ~ A*B + x + (1|g)", "unbalanced", list(A = "contr.sum", B = "contr.sum")),
  case("y ~ A*B + x + (1|g)", "unbalanced", list(A = "contr.helmert", B = "contr.SAS")),
  case("y ~ A*x + (1|g)", "unbalanced"),
  case("y ~ A*B + x + (1|g)", "missing_cell"),
  case("y ~ A*B + x + (1|g)", "missing_cell", list(A = "contr.sum", B = "contr.sum")),
  case("y ~ A*B*C + (1|g)", "missing_cell"),
  case("y ~ A*B*C + (1|g)", "unbalanced", list(A = "contr.sum", B = "contr.helmert")),
  case("y ~ x*C + B + (x|g)", "ordered"),
  case("y ~ C*B + (1|g) + (1|h)", "ordered"),
  case("y ~ 0 + A*B + (1|g)", "unbalanced"),
  case("y ~ A/B + (1|g)", "unbalanced"),
  case("y ~ A/x + (1|g)", "unbalanced", list(A = "contr.sum")),
  case("y ~ A*B*x + (1|g)", "unbalanced", list(A = "contr.sum")),
  case("y ~ A*x + x:B + (1|g)", "unbalanced"),
  case("y ~ A + I(z^2) + z + A:z + (x|g) + (1|h)", "unbalanced"),
  case("y ~ A*B + poly(x, 2) + (1|g)", "unbalanced", ls = FALSE),
  case("y ~ A + x + I(2*x) + (1|g)", "unbalanced"),
  case("y ~ A*B + (x||g) + (1|h)", "unbalanced", REML = FALSE),
  case("y ~ A*B + x + (1|g)", "unbalanced", weights = "w", kr = FALSE),
  case("y ~ A + x + (1|g)", "flat"),
  case("y ~ A + x + (x|g)", "flat", kr = FALSE),
  case("Preference ~ sens2*Homesize + (1|Consumer)", "carrots"),
  case("Preference ~ sens2 + Homesize + (1 + sens2|Consumer)", "carrots"))

carrot <- fit("Preference ~ Homesize*sens1*sens2 + (1|Consumer)", "carrots")
m <- fit("y ~ A*B + x + (1|g)", "unbalanced")
s <- fit("Reaction ~ Days + (Days|Subject)", "sleepstudy")
L <- rbind(c(0, 1, 0, 0, 0, .5, 0), c(0, 0, 1, 0, 0, 0, .5))
contests <- list(
  joint = frame(contest(m, L)), joint_rhs = frame(contest(m, L, rhs = c(1, 2))),
  joint_kr = frame(contest(m, L, ddf = "Kenward-Roger")),
  single = frame(contest(m, L, joint = FALSE)), single_kr_rhs = frame(contest(m, L, joint = FALSE, rhs = 1, ddf = "Kenward-Roger")),
  dependent = frame(contest(m, rbind(L, L[1, ] + L[2, ]))), both_kr = frame(contest(s, diag(2), ddf = "Kenward-Roger")))

random <- function(formula, data, reduce = TRUE, REML = TRUE) {
  m <- fit(formula, data, REML = REML)
  a <- suppressMessages(suppressWarnings(ranova(m, reduce.terms = reduce)))
  list(formula = formula, data = data, reduce = reduce, reml = REML, table = frame(a), text = text(a))
}
ranovas <- list(
  random("y ~ A*B + x + (1|g)", "unbalanced"), random("y ~ A + (1|g) + (1|h)", "unbalanced"),
  random("y ~ A + (x + z|g)", "unbalanced"), random("y ~ A + (x|g) + (1|h)", "unbalanced", FALSE),
  random("y ~ A + (A|g)", "unbalanced"), random("y ~ A + (0 + x|g) + (1|g)", "unbalanced"),
  random("y ~ A + x + (x|g)", "unbalanced", REML = FALSE), random("y ~ A + (1|g/h)", "unbalanced"),
  random("y ~ A + (x + I(x^2)|g)", "unbalanced"), random("y ~ A + (0 + A|g) + (x*z|h)", "unbalanced"))

steps <- list()
for (one in list(c("y ~ A*B + x + z + C + (x|g)", "unbalanced"), c("y ~ A*x + C + (x|g) + (1|h)", "unbalanced"),
    c("Informed.liking ~ Product*Information + (1|Consumer) + (1|Product:Consumer)", "ham"),
    c("Preference ~ sens2*Homesize + (1 + sens2|Consumer)", "carrots"), c("y ~ A + x + (1|g) + (1|h)", "flat"))) {
  m <- fit(one[1], one[2]); r <- suppressMessages(suppressWarnings(step(m)))
  steps[[length(steps) + 1]] <- list(formula = one[1], data = one[2], random = frame(r$random), fixed = frame(r$fixed), text = text(r))
}

modcomp <- function(large, small, data, REML = TRUE) {
  l <- fit(large, data, REML = REML)
  k <- suppressMessages(suppressWarnings(KRmodcomp(l, fit(small, data, REML = REML))))
  list(large = large, small = small, data = data, reml = REML, kr = getKR(k), aux = as.list(getKR(k)$aux), text = text(k))
}
modcomps <- list(
  modcomp("Reaction ~ Days + (Days|Subject)", "Reaction ~ 1 + (Days|Subject)", "sleepstudy"),
  modcomp("sugpct ~ block + sow + harvest + (1|block:harvest)", "sugpct ~ block + sow + (1|block:harvest)", "beets", FALSE),
  modcomp("sugpct ~ block + sow + harvest + (1|block:harvest)", "sugpct ~ block + harvest + (1|block:harvest)", "beets", FALSE),
  modcomp("y ~ A*B + x + (x|g) + (1|h)", "y ~ A + x + (x|g) + (1|h)", "unbalanced"),
  modcomp("y ~ A*B + x + (x|g) + (1|h)", "y ~ x + (x|g) + (1|h)", "unbalanced"))
adjusted <- fit("y ~ A*B + x + (x|g) + (1|h)", "unbalanced")

writeLines(toJSON(list(models = models, carrots_type_III = frame(anova(carrot)), contests = contests, L = L,
  ranovas = ranovas, steps = steps, modcomps = modcomps, vcov_adjusted = as.matrix(vcovAdj(adjusted))),
  auto_unbox = TRUE, digits = NA, null = "null", na = "null", pretty = FALSE), "inference.json")
