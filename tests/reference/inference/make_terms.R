# F tests of terms by lmerTest for formulas whose terms contain each other in unusual ways.
#   Rscript make_terms.R       (in this folder; R 4.2.2, lme4 1.1-31, lmerTest 3.1-3)
# Writes terms.json from data/unbalanced.csv .
suppressMessages({library(lmerTest); library(jsonlite)})
d <- read.csv("data/unbalanced.csv", stringsAsFactors = TRUE)
d$g <- factor(d$g)
control <- lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-13, maxeval = 10000))
formulas <- c(
  "y ~ A + (x|g)", "y ~ poly(x, 2, raw = TRUE) + (x|g)", "y ~ A:x + (x|g)", "y ~ A:B + (1|g)", "y ~ 0 + A + (1|g)",
  "y ~ A + poly(x, 2, raw = TRUE) + (x|g)", "y ~ poly(x, 2, raw = TRUE) + A + (x|g)", "y ~ A/B + (1|g)",
  "y ~ A/x + (1|g)", "y ~ A/x*B + (1|g)", "y ~ B/x*A + (1|g)", "y ~ A/x*C + (1|g)", "y ~ A/(x*z) + (1|g)", "y ~ A/x/z + (1|g)",
  "y ~ (A/x)*(B/z) + (1|g)", "y ~ B:x + A:x + (1|g)", "y ~ A:x + B:x + (1|g)", "y ~ A:x + B:x + C:x + (1|g)",
  "y ~ z + B:x + A:x + (1|g)", "y ~ B:x + A:x + A:B:x + (1|g)", "y ~ x:B + x:B:A + (1|g)", "y ~ A + B + A:x + B:x + (1|g)",
  "y ~ A + A:x + B:x + (1|g)", "y ~ x + A:x + (1|g)", "y ~ x + A:x + B:x + (1|g)", "y ~ x*A + B:x + (1|g)", "y ~ x + A:B:x + (1|g)",
  "y ~ B:x + A:z + (1|g)", "y ~ A:x + A:z + (1|g)", "y ~ A:x + A:z + B:x + B:z + (1|g)", "y ~ A:B + A:C + (1|g)",
  "y ~ A + A:B + A:C + (1|g)", "y ~ A:B + x + (1|g)", "y ~ (A + B + C)^2 + (1|g)", "y ~ (x + B + A)^2 + (1|g)", "y ~ (x + z + A)^2 + (1|g)",
  "y ~ A*B*x + (1|g)", "y ~ A*B*x - x + (1|g)", "y ~ A*B*x - A:x + (1|g)", "y ~ A*B - A + (1|g)", "y ~ A*x - x + (1|g)", "y ~ A*x - A + (1|g)",
  "y ~ 0 + A*B + (1|g)", "y ~ 0 + A:B + (1|g)", "y ~ 0 + A + A:x + (1|g)", "y ~ 0 + A:x + B:x + (1|g)", "y ~ x*z*A + (1|g)", "y ~ x:z:A + x:z + (1|g)",
  "y ~ z:A:B + z:A + (1|g)", "y ~ A/poly(x, 2)*B + (1|g)", "y ~ A:poly(x, 2) + B:poly(x, 2) + (1|g)", "y ~ scale(x):A + scale(x):B + (1|g)",
  "y ~ log(z):A + log(z):B + (1|g)", "y ~ A*I(x^2) + (x|g)", "y ~ A/x + B + (1|g) + (1|h)", "y ~ factor(x > 0)*A + (1|g)")
one <- function(formula) {
  m <- suppressMessages(suppressWarnings(lmer(as.formula(formula), d, control = control)))
  table <- function(type) { a <- suppressMessages(anova(m, type = type))
    list(terms = I(rownames(a)), NumDF = I(a$NumDF), DenDF = I(a$DenDF), F = I(a$`F value`)) }
  c(list(formula = formula), sapply(c("I", "II", "III"), table, simplify = FALSE))
}
write(toJSON(lapply(formulas, one), digits = 9, auto_unbox = TRUE, na = "null"), "terms.json")
