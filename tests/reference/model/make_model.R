# What R prints and computes after a fit: random effects, comparisons, lmList, getME.
#   Rscript make_model.R OUT_DIR
# Writes OUT_DIR/model.json. R 4.2.2, lme4 1.1-31. Fits are at tight tolerances, so that prints with
# four digits do not depend on where the optimizer stopped.
suppressMessages({
  library(lme4)
  library(jsonlite)
})
out <- commandArgs(TRUE)[1]
options(width = 80, digits = 7)
tight <- lmerControl(calc.derivs = FALSE, optCtrl = list(
  xtol_abs = 1e-12, xtol_rel = 1e-12, ftol_abs = 1e-13, ftol_rel = 1e-15, maxeval = 1e5
))
fit <- function(formula, data, REML = TRUE) {
  m <- do.call(lmer, list(formula, substitute(data), REML = REML, control = tight))
  m@call$control <- NULL
  m
}
lines <- function(x, digits = 7) {
  old <- options(digits = digits)
  on.exit(options(old))
  capture.output(print(x))
}
fm1 <- fit(Reaction ~ Days + (Days | Subject), sleepstudy)
fm2 <- fit(Reaction ~ Days + (Days || Subject), sleepstudy)
fm0 <- fit(Reaction ~ Days + (1 | Subject), sleepstudy)
fm1ML <- fit(Reaction ~ Days + (Days | Subject), sleepstudy, REML = FALSE)
fm1ML_small <- fit(Reaction ~ (Days | Subject), sleepstudy, REML = FALSE)
fmcake <- fit(angle ~ recipe * temperature + (1 | recipe:replicate), cake)
pastes <- fit(strength ~ 1 + (1 | batch / cask), Pastes)
machines <- fit(score ~ Machine + (0 + Machine | Worker), nlme::Machines)
slopes <- fit(Reaction ~ 1 + (Days | Subject), sleepstudy)
ll <- lmList(Reaction ~ Days | Subject, sleepstudy)

text <- list(
  ranef = lines(ranef(fm1), 4),
  ranef_pastes = lines(ranef(pastes, condVar = FALSE), 4),
  coef = lines(coef(fm1), 4),
  coef_slopes = lines(coef(slopes), 4),
  re_pca_independent = lines(rePCA(fm2), 4),
  re_pca_summary = lines(summary(rePCA(fm1))),
  re_pca_summary_machines = lines(summary(rePCA(machines))),
  re_pca_summary_pastes = lines(summary(rePCA(pastes))),
  anova = lines(suppressMessages(anova(fm1, fm2))),
  anova_three = lines(suppressMessages(anova(fm1, fm0, fm2))),
  anova_reml = lines(anova(fm1, fm2, refit = FALSE)),
  anova_ml = lines(anova(fm1ML, fm1ML_small)),
  anova_one = lines(anova(fm1)),
  anova_cake = lines(anova(fmcake)),
  drop1_cake = lines(drop1(fmcake, test = "Chisq")),
  drop1 = lines(drop1(fm1ML)),
  lmlist = lines(ll),
  lmlist_summary = lines(summary(ll)),
  lmlist_confint = lines(confint(ll))
)

rows <- data.frame(Days = c(0, 9), Subject = rep(c("308", "309", "310"), each = 2))
numbers <- list(
  predict = list(
    all = unname(predict(fm1, rows)),
    none = unname(predict(fm1, rows, re.form = NA)),
    slope = unname(predict(fm1, rows, re.form = ~ (0 + Days | Subject))),
    intercept = unname(predict(fm1, rows, re.form = ~ (1 | Subject))),
    random_only = unname(predict(fm1, rows, random.only = TRUE))
  ),
  condsd = as.data.frame(ranef(fm1))$condsd,
  condsd_independent = as.data.frame(ranef(fm2))$condsd,
  condsd_pastes = as.data.frame(ranef(pastes))$condsd
)
parts <- c(
  "Gp", "Tp", "Lind", "ST", "Tlist", "RX", "p_i", "l_i", "q_i", "k", "m_i", "m", "n_rtrms",
  "n_rfacs", "N", "n", "p", "q", "devcomp", "lower", "REML", "is_REML", "theta", "cnms"
)
getme <- function(m) {
  found <- getME(m, parts)
  found$ldL2 <- getME(m, "devcomp")$cmp[["ldL2"]]
  found$A_sum <- sum(getME(m, "A"))
  found$RZX_squares <- sum(getME(m, "RZX")^2)
  found$u <- getME(m, "u")
  found$lower <- as.character(found$lower)
  found
}
numbers$getme <- list(sleep = getme(fm1), pastes = getme(pastes))
write_json(list(text = text, numbers = numbers), file.path(out, "model.json"),
  auto_unbox = TRUE, digits = NA, na = "null", pretty = TRUE
)
