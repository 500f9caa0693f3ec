# Prints of R's emmeans (1.8.4.1, with lme4 1.1-31 and pbkrtest 0.5.2), one section per call.
#   Rscript make_emmeans.R > emmeans.txt
suppressMessages({library(lme4); library(emmeans)})
# An optimum to all printed digits.
exact <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
options(width = 80)
fc <- lmer(angle ~ recipe * temp + (1 | recipe:replicate), cake)
f2 <- lmer(angle ~ recipe * temperature + (1 | recipe:replicate), cake)
f3 <- lmer(angle ~ recipe + temp + (1 | recipe:replicate), cake)
f4 <- lmer(angle ~ recipe + temperature + (1 | recipe:replicate), cake,
           subset = !(recipe == "C" & temp > 200))
d <- sleepstudy
i <- as.integer(d$Subject)
d$half <- factor(c("lo", "mid", "hi")[i %% 3 + 1])
d$two <- as.numeric(i > 7)
d$lg <- d$Days > 3
s1 <- lmer(Reaction ~ half * Days + two + (Days | Subject), d, control = exact)
s2 <- lmer(Reaction ~ half + lg + factor(two) + poly(Days, 2) + (1 | Subject), d)
s3 <- lmer(log(Reaction) ~ half + (1 | Subject), d)
s4 <- lmer(sqrt(Reaction) ~ half + (1 | Subject), d)
s5 <- suppressMessages(lmer(Reaction ~ half * lg + (1 | Subject), subset(d, !(half == "lo" & lg))))
d$off <- 2 * d$Days
s6 <- lmer(Reaction ~ half + (1 | Subject), d, offset = d$off)
s7 <- lmer(log(Reaction + 10) ~ half + (1 | Subject), d)
s8 <- lmer(log1p(Reaction) ~ half + (1 | Subject), d)
s9 <- lmer(log10(Reaction) ~ half + (1 | Subject), d)
# Batches within recipes: two of A and of B, three of C.
n <- cake
k <- as.integer(n$replicate)
n$batch <- factor(paste0(n$recipe, 1 + (k > 6) + (k > 10 & n$recipe == "C")))
n$warm <- factor(ifelse(n$temp > 200, "yes", "no"))
n1 <- lmer(angle ~ recipe + batch + warm + (1 | recipe:replicate), n)
n2 <- lmer(angle ~ recipe + batch * temp + (1 | recipe:replicate), n)
n3 <- lmer(angle ~ recipe / batch + warm + (1 | recipe:replicate), n)
f5 <- lmer(angle ~ recipe * warm + cut(temp, c(0, 180, 200, 300)) + (1 | recipe:replicate), n)
six <- emmeans(f2, ~ recipe * temperature, at = list(temperature = c("175", "185", "195")))
two_temps <- list(temp = c(175, 200))
calls <- expression(
  emmeans(fc, pairwise ~ recipe),
  emmeans(fc, ~recipe, lmer.df = "satterthwaite"),
  emmeans(fc, ~recipe, lmer.df = "asymptotic"),
  test(emmeans(fc, ~recipe, lmer.df = "asymptotic")),
  emtrends(fc, pairwise ~ recipe, var = "temp"),
  emtrends(fc, ~1, var = "temp"),
  joint_tests(fc),
  test(emmeans(fc, ~recipe)),
  emmeans(f2, ~recipe),
  emmeans(f2, ~recipe | temperature),
  emmeans(f2, ~recipe * temperature),
  emmeans(f2, ~1),
  pairs(emmeans(f2, ~temperature)),
  contrast(emmeans(f2, "temperature"), "poly"),
  contrast(emmeans(f2, "temperature"), "mean_chg"),
  pairs(emmeans(f3, c("recipe", "temp"), at = two_temps)),
  emmeans(f3, pairwise ~ recipe | temp, at = two_temps),
  contrast(emmeans(f3, "recipe"), "eff"),
  contrast(emmeans(f3, "recipe"), "del.eff"),
  contrast(emmeans(f3, "recipe"), "consec"),
  contrast(emmeans(f3, "recipe"), "trt.vs.ctrl", adjust = "mvt"),
  contrast(emmeans(f3, "recipe"), "eff") |> confint(),
  pairs(emmeans(f3, "recipe"), reverse = TRUE),
  pairs(emmeans(f3, "recipe"), adjust = "holm"),
  pairs(emmeans(f3, "recipe"), adjust = "none"),
  pairs(emmeans(f3, "recipe"), adjust = "bonferroni"),
  pairs(emmeans(f3, "recipe"), adjust = "sidak"),
  pairs(emmeans(f3, "recipe"), adjust = "fdr"),
  pairs(emmeans(f3, "recipe"), adjust = "mvt"),
  confint(pairs(emmeans(f3, "recipe"))),
  confint(pairs(emmeans(f3, "recipe")), adjust = "bonferroni"),
  summary(pairs(emmeans(f3, "recipe")), infer = TRUE),
  confint(emmeans(f3, "recipe"), adjust = "sidak"),
  confint(emmeans(f3, "recipe"), level = 0.9),
  test(emmeans(f3, "recipe"), null = 30),
  joint_tests(f2),
  joint_tests(f2, by = "recipe"),
  joint_tests(f3),
  emmeans(f4, "temperature"),
  emmeans(f4, "temperature", weights = "proportional"),
  emmeans(f4, "temperature", weights = "outer"),
  emmeans(f4, "temperature", weights = "cells"),
  emmeans(s1, "half"),
  emmeans(s1, ~half + two),
  pairs(emmeans(s1, ~half + two)),
  emmeans(s1, "half", weights = "proportional"),
  emmeans(s1, "half", weights = "cells"),
  emtrends(s1, ~half, var = "Days"),
  emmeans(s1, "half", at = list(Days = c(0, 9), half = c("lo", "hi")), by = "Days"),
  contrast(emmeans(s1, "half"), list(a = c(1, -1, 0), b = c(0.5, 0.5, -1))),
  emmeans(s2, "lg"),
  emmeans(s2, "two"),
  emmeans(s3, "half"),
  pairs(emmeans(s3, "half")),
  emmeans(s4, "half"),
  pairs(emmeans(s4, "half")),
  emmeans(s5, ~half | lg),
  emmeans(s5, "half"),
  emmeans(s6, "half"),
  emmeans(s3, pairwise ~ half, type = "response"),
  confint(pairs(emmeans(s3, "half")), type = "response"),
  test(emmeans(s3, "half"), null = log(300), type = "response"),
  summary(emmeans(s3, "half"), infer = TRUE, type = "response"),
  contrast(emmeans(s3, "half"), "eff", type = "response"),
  emmeans(s4, pairwise ~ half, type = "response"),
  test(emmeans(s4, "half"), type = "response"),
  emmeans(s7, pairwise ~ half),
  emmeans(s7, pairwise ~ half, type = "response"),
  emmeans(s8, pairwise ~ half, type = "response"),
  emmeans(s9, pairwise ~ half, type = "response"),
  emmeans(n1, "recipe"),
  emmeans(n1, "batch"),
  emmeans(n1, ~batch | recipe),
  emmeans(n1, ~batch * warm),
  emmeans(n1, ~1),
  emmeans(n1, ~1, weights = "proportional"),
  emmeans(n1, ~1, weights = "outer"),
  pairs(emmeans(n1, "recipe")),
  pairs(emmeans(n1, "batch")),
  joint_tests(n1),
  emtrends(n2, "recipe", var = "temp"),
  emtrends(n2, ~1, var = "temp"),
  emmeans(n3, "recipe"),
  joint_tests(n3),
  emmeans(f5, "recipe"),
  contrast(six, interaction = "pairwise"),
  contrast(six, interaction = c("consec", "poly")),
  contrast(six, interaction = c(temperature = "consec", recipe = "eff")),
  contrast(six, interaction = "pairwise", by = "recipe"),
  contrast(six, "pairwise", simple = "each"),
  pairs(pairs(six, by = "recipe"), by = "contrast"),
  contrast(pairs(six, by = "recipe"), "eff", by = NULL),
  contrast(emmeans(f3, "recipe"), "trt.vs.ctrl", ref = 2:3),
  contrast(emmeans(f3, "recipe"), "eff", exclude = 1),
  contrast(emmeans(f3, "recipe"), "pairwise", offset = 1),
  pairs(emmeans(f3, "recipe"), adjust = "scheffe"),
  pairs(emmeans(f3, "recipe"), adjust = "hochberg"),
  pairs(emmeans(f3, "recipe"), adjust = "hommel"),
  pairs(emmeans(f3, "recipe"), adjust = "BH"),
  pairs(emmeans(f3, "recipe"), adjust = "BY"),
  confint(pairs(emmeans(f3, "recipe")), adjust = "scheffe"),
  test(pairs(emmeans(f3, "recipe")), side = ">"),
  test(pairs(emmeans(f3, "recipe")), delta = 2, adjust = "none"),
  test(pairs(emmeans(f3, "recipe")), delta = 2, side = "<"),
  confint(pairs(emmeans(f3, "recipe")), side = ">"),
  confint(pairs(emmeans(f3, "recipe")), side = "<", adjust = "none"),
  summary(emmeans(f3, "recipe"), side = "noninferiority", delta = 2, null = 30, infer = TRUE),
  emmeans(six, "recipe"),
  joint_tests(six),
  joint_tests(six, by = "recipe"),
  emmeans(f3, "recipe")[2:3],
  emmeans(f2, "recipe", weights = 1:6),
  emmeans(f3, pairwise ~ recipe, adjust = "none", infer = TRUE),
  emmeans(s3, "half", type = "response", bias.adjust = TRUE),
  emmeans(s3, "half", type = "response", bias.adjust = TRUE, sigma = 0.2)
)
for (call in calls) {
  cat("##", deparse(call, width.cutoff = 200), "\n")
  print(suppressMessages(eval(call)))
}
