# What R prints for random numbers, tables and a few unusual models.
#   Rscript make_printing.R OUT_DIR
# Writes numbers.json, tables.json, varcorr.json and models.json. R 4.2.2, lme4 1.1-31, lmerTest 3.1-3.
# Numbers keep 12 digits so that JSON holds exactly what R formatted.
suppressMessages({library(jsonlite); library(lme4); library(lmerTest)})
options(width = 80)
set.seed(42)
out <- commandArgs(TRUE)[1]
text <- function(e) I(capture.output(e))
s12 <- function(x) signif(as.numeric(x), 12)
save_json <- function(x, name)
  write(toJSON(x, auto_unbox = TRUE, digits = NA, na = "null", matrix = "rowmajor"), file.path(out, name))

numbers <- function(n) {
  x <- s12(switch(sample(7, 1), rnorm(n), rnorm(n) * 10^sample(-8:8, 1), rexp(n) * 10^runif(n, -4, 4),
    round(rnorm(n) * 100, sample(0:3, 1)), sample(-1000:1000, n), c(0, rnorm(n)),
    10^sample(-6:9, n, TRUE) * sample(c(-1, 1, 9.9996), n, TRUE)))
  if (runif(1) < 0.15) x[sample(length(x), 1)] <- NA
  x
}
words <- c("temperature", "recipe", "Sex", "Female", "age", "Days", "poly(Days, 2)", "I(x^2)", "Information2",
  "log(y + 1)", "Machine", "B", "C", "185", "a b", "Variety", "Marvellous", "nitro", "UPPER", "under_score",
  "x.y.z", "ns(time, df = 4)")
save_json(list(
  format = lapply(1:500, function(i) {
    x <- numbers(sample(6, 1)); d <- sample(c(1:7, 10), 1); k <- if (any(grepl("99", x))) 0 else sample(c(0, 0, 2, 3), 1)
    list(x = I(x), digits = d, nsmall = k, text = I(format(x, digits = d, nsmall = k))) }),
  round = lapply(1:300, function(i) {
    d <- sample(0:9, 1)
    x <- signif(switch(sample(3, 1), (sample(-2000:2000, 4) + 0.5) / 10^d, rnorm(4) * 10^runif(1, -7, 7), rnorm(4)), 13)
    list(x = x, digits = d, value = round(x, d)) }),
  zapsmall = lapply(1:200, function(i) {
    x <- s12(rexp(4) * 10^runif(4, -7, 4)); d <- sample(3:7, 1)
    list(x = x, digits = d, value = zapsmall(x, d)) }),
  p_values = lapply(1:300, function(i) {
    x <- s12(10^(-rexp(sample(5, 1)) * sample(c(0.5, 3, 20), 1))); d <- sample(1:6, 1)
    list(x = I(x), digits = d, text = I(format.pval(x, digits = d, eps = .Machine$double.eps))) }),
  abbreviate = lapply(1:300, function(i) {
    n <- unique(replicate(sample(8, 1), paste(sample(words, sample(3, 1)), collapse = sample(c(":", ""), 1)))); k <- sample(c(1:8, 11), 1)
    list(names = I(n), length = k, text = I(unname(abbreviate(n, k)))) })), "numbers.json")

labels <- function(n) make.unique(replicate(n, paste(sample(c(letters, "(Intercept)", "temperature.L", "x1:"), sample(4, 1)), collapse = "")))
wide <- function(n, low, high) s12(rexp(n) * 10^runif(n, low, high))
shape <- function(m, ...) list(values = unname(as.matrix(m)), rows = I(as.character(rownames(m))), columns = I(colnames(m)), ...)
coefficient_table <- function() {
  n <- sample(5, 1); k <- sample(3, 1); scale <- 10^sample(-6:6, 1)
  est <- s12(rnorm(n) * scale * 10^runif(n, -2, 2)); se <- s12(abs(rnorm(n)) * scale)
  if (runif(1) < 0.1) est[1] <- 0
  m <- cbind(Estimate = est, `Std. Error` = se, df = if (k == 3) s12(runif(n, 2, 300)), `t value` = s12(est / se),
    `Pr(>|t|)` = if (k > 1) s12(2 * pnorm(-abs(est / se) * sample(c(0.3, 1, 3), 1))))
  rownames(m) <- labels(n)
  if (runif(1) < 0.1) m[sample(n, 1), ] <- NA
  m
}
anova_table <- function() {
  n <- sample(4, 1)
  m <- switch(sample(4, 1),
    data.frame(npar = sample(1:6, n, TRUE), `Sum Sq` = wide(n, -3, 5), `Mean Sq` = wide(n, -3, 5), `F value` = wide(n, -3, 2), check.names = FALSE),
    data.frame(`Sum Sq` = wide(n, -3, 5), `Mean Sq` = wide(n, -3, 5), NumDF = sample(1:9, n, TRUE), DenDF = s12(runif(n, 3, 900)),
      `F value` = wide(n, -3, 2), `Pr(>F)` = s12(10^-rexp(n)), check.names = FALSE),
    data.frame(npar = sort(sample(2:20, n + 1)), AIC = s12(rnorm(n + 1) * 1000), BIC = s12(rnorm(n + 1) * 1000), logLik = -wide(n + 1, 3, 3),
      deviance = wide(n + 1, 3, 3), Chisq = c(NA, wide(n, -3, 2)), Df = c(NA, sample(3, n, TRUE)), `Pr(>Chisq)` = c(NA, s12(10^-rexp(n, 0.3))), check.names = FALSE),
    data.frame(npar = sort(sample(2:20, n + 1)), logLik = -wide(n + 1, 3, 3), AIC = s12(rnorm(n + 1) * 1000), LRT = c(NA, wide(n, -3, 2)),
      Df = c(NA, sample(3, n, TRUE)), `Pr(>Chisq)` = c(NA, s12(10^-rexp(n, 0.3))), check.names = FALSE))
  rownames(m) <- labels(nrow(m))
  m
}
save_json(list(
  coefficients = lapply(1:150, function(i) { m <- coefficient_table(); d <- sample(c(3, 4, 5, 7), 1); shape(m, digits = d, text = text(printCoefmat(m, digits = d))) }),
  anova = lapply(1:150, function(i) { m <- anova_table(); shape(m, text = text(print(structure(m, class = c("anova", "data.frame"), heading = c("A heading", "of two lines"))))) }),
  matrix = lapply(1:80, function(i) {
    n <- sample(4, 1); k <- sample(14, 1); m <- s12(rnorm(n * k) * 10^rep(sample(-3:4, k, TRUE), each = n)); dim(m) <- c(n, k); dimnames(m) <- list(labels(n), labels(k))
    if (runif(1) < 0.3) m[sample(n * k, 1)] <- NA
    d <- sample(c(3, 7), 1); shape(m, digits = d, text = text(print(m, digits = d))) }),
  vector = lapply(1:80, function(i) {
    n <- sample(12, 1); x <- setNames(s12(rnorm(n) * 10^sample(-5:5, 1)), labels(n)); d <- sample(c(4, 7), 1)
    list(x = I(unname(x)), names = I(names(x)), digits = d, text = text(print(x, digits = d)), wide = text(print.default(format(x, digits = d), print.gap = 2, quote = FALSE))) })), "tables.json")

block <- function(k) {
  sd <- s12(rexp(k) * 10^runif(1, -3, 3)); r <- s12(tanh(rnorm(k * (k - 1) / 2, sd = 2)))
  if (runif(1) < 0.2) sd[1] <- 0
  R <- diag(k); R[lower.tri(R)] <- r; R[upper.tri(R)] <- t(R)[upper.tri(R)]
  if (sd[1] == 0 && k > 1) R[1, -1] <- R[-1, 1] <- NaN
  S <- outer(sd, sd) * ifelse(is.nan(R), 0, R); n <- c("(Intercept)", "x", "I(z^2)", "fB")[1:k]
  structure(S, stddev = setNames(sd, n), correlation = R, dimnames = list(n, n))
}
save_json(lapply(1:100, function(i) {
  groups <- sample(c("g", "Subject", "cask:batch", "a_long_grouping_factor"), sample(3, 1))
  v <- structure(setNames(lapply(groups, function(g) block(sample(4, 1))), groups), sc = s12(rexp(1) * 10), useSc = TRUE, class = "VarCorr.merMod")
  d <- sample(c(2, 4, 5, 6), 1); comp <- list("Std.Dev.", "Variance", c("Variance", "Std.Dev."))[[sample(3, 1)]]
  list(groups = I(groups), sd = lapply(unname(c(v)), function(b) I(unname(attr(b, "stddev")))), covariance = lapply(unname(c(v)), function(b) I(unname(matrix(b, nrow(b))))),
    columns = lapply(unname(c(v)), function(b) I(rownames(b))), sigma = attr(v, "sc"), digits = d, components = I(comp), text = text(print(v, digits = d, comp = comp)))
}), "varcorr.json")

d <- data.frame(y = rnorm(200), x = rnorm(200), z = rnorm(200), w = rnorm(200), g = gl(10, 20), h = gl(5, 1, 200), alongername_of_factor = gl(4, 5, 200), another_long_factor = gl(20, 10, 200))
model <- function(m, ...) {
  s <- summary(m, ...); reml <- isREML(m); vc <- VarCorr(m); warned <- m@optinfo$warnings; conv <- m@optinfo$conv
  list(reml = reml, formula = paste(deparse(formula(m)), collapse = " \n"), data = deparse(m@call$data),
    weights = if (!is.null(m@call$weights)) deparse(m@call$weights), offset = if (!is.null(m@call$offset)) deparse(m@call$offset), subset = if (!is.null(m@call$subset)) deparse(m@call$subset),
    criteria = if (reml) list(REML = unname(REMLcrit(m))) else list(AIC = AIC(m), BIC = BIC(m), logLik = as.numeric(logLik(m)), deviance = unname(deviance(m)), df.resid = df.residual(m)),
    groups = I(names(vc)), columns = lapply(unname(c(vc)), function(b) I(rownames(b))), covariance = lapply(unname(c(vc)), function(b) I(unname(matrix(b, nrow(b))))), sigma = sigma(m),
    nobs = nobs(m), ngroups = as.list(ngrps(m)), fixef = as.list(fixef(m)), coefficients = shape(coef(s)), vcov = unname(as.matrix(vcov(m))),
    residuals = unname(quantile(residuals(m, "pearson", scaled = TRUE))), ddf = if (inherits(m, "lmerModLmerTest")) list(...)$ddf %||% "Satterthwaite",
    fit_warnings = I(as.character(unlist(c(attr(getME(m, "X"), "msgScaleX"), attr(getME(m, "X"), "msgRankdrop"))))), code = conv$opt, status = if (is.null(conv$opt) || conv$opt == 0) "OK" else m@optinfo$message,
    messages = I(as.character(unlist(conv$lme4$messages))), optimizer = m@optinfo$optimizer,
    print = text(print(m)), summary = text(print(s)), print_variances = text(print(m, digits = 3, ranef.comp = "Var")), summary_short = text(print(s, digits = 3, correlation = FALSE, show.resids = FALSE)),
    summary_full = if (length(fixef(m)) > 1) text(suppressMessages(print(s, correlation = TRUE))), varcorr = text(print(vc)), frame = as.data.frame(vc))
}
`%||%` <- function(a, b) if (is.null(a)) b else a
few <- lmerControl(optCtrl = list(maxeval = 10), calc.derivs = FALSE)
save_json(suppressMessages(suppressWarnings(list(
  no_fixed_effects = model(lme4::lmer(Reaction ~ 0 + (Days | Subject), sleepstudy)),
  many_groups = model(lme4::lmer(y ~ x + (x + z + w | g) + (1 | h) + (1 | alongername_of_factor) + (1 | another_long_factor), d)),
  zero_sd = model(lme4::lmer(y ~ x + (0 + x | g) + (1 | g) + (z | g) + offset(w), d, weights = abs(w), offset = w)),
  thirteen = model(lme4::lmer(y ~ x + I(x^2) + I(x^3) + I(x^4) + I(x^5) + I(x^6) + I(x^7) + I(x^8) + I(x^9) + I(x^10) + I(x^11) + z + (1 | g), d)),
  subset = model(lme4::lmer(Reaction ~ Days + (1 | Subject), sleepstudy, subset = Days > 2, weights = Days)),
  dropped = model(lme4::lmer(Reaction ~ Days + I(2 * Days) + I(3 * Days) + (1 | Subject), sleepstudy)),
  ml = model(lme4::lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = FALSE)),
  satterthwaite = model(lmerTest::lmer(Reaction ~ Days + (Days | Subject), sleepstudy)),
  satterthwaite_ml = model(lmerTest::lmer(y ~ x + z + (1 | g), d, REML = FALSE)),
  satterthwaite_cake = model(lmerTest::lmer(angle ~ recipe * temperature + (1 | recipe:replicate), cake)),
  kenward_roger = model(lmerTest::lmer(y ~ x + z + (1 | h), d), ddf = "Kenward-Roger")))), "models.json")
