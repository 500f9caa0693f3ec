# R's families and links on grids: Rscript make_families.R > families.json
library(jsonlite); suppressMessages(library(MASS))
fams <- list(binomial_logit = binomial(), binomial_probit = binomial("probit"), binomial_cloglog = binomial("cloglog"), binomial_cauchit = binomial("cauchit"), binomial_log = binomial("log"), poisson_log = poisson(), poisson_sqrt = poisson("sqrt"), poisson_identity = poisson("identity"), Gamma_log = Gamma("log"), Gamma_inverse = Gamma(), Gamma_identity = Gamma("identity"), gaussian_log = gaussian("log"), gaussian_identity = gaussian(), gaussian_inverse = gaussian("inverse"), inverse.gaussian_log = inverse.gaussian("log"), `inverse.gaussian_1/mu^2` = inverse.gaussian(), nbinom1.7_log = negative.binomial(1.7), nbinom1.7_sqrt = negative.binomial(1.7, "sqrt"))
out <- lapply(names(fams), function(nm) { f <- fams[[nm]]; link <- f$link
  eta <- if (link %in% c("inverse", "identity", "1/mu^2", "sqrt")) c(0.05, 0.3, 1, 2.5, 6) else if (nm == "binomial_log") c(-8, -3, -1, -0.3, -0.01) else c(-12, -5, -1.2, 0, 0.7, 3, 6)
  if (startsWith(nm, "gaussian") && link == "identity") eta <- c(-3, 0, 2)
  mu <- f$linkinv(eta); y <- switch(f$family, binomial = rep(c(0, 0.25, 1), length.out = length(mu)), poisson = rep(c(0, 2, 7), length.out = length(mu)), Gamma = , inverse.gaussian = rep(c(0.4, 1.5, 3), length.out = length(mu)), gaussian = rep(c(-1, 0.5, 3), length.out = length(mu)), rep(c(0, 2, 7), length.out = length(mu)))
  w <- if (f$family == "binomial") rep(4, length(mu)) else rep(1, length(mu)); n <- w
  list(name = nm, family = f$family, link = link, eta = I(eta), mu = I(mu), mu_eta = I(f$mu.eta(eta)), link_of_mu = I(f$linkfun(mu)), variance = I(f$variance(mu)), y = I(y), weights = I(w), deviance_residuals_squared = I(f$dev.resids(y, mu, w)),
    minus2loglik = switch(f$family, binomial = -2 * sum(dbinom(round(y * w), w, mu, log = TRUE)), poisson = -2 * sum(dpois(y, mu, log = TRUE)), gaussian = NULL, Gamma = NULL, inverse.gaussian = NULL, -2 * sum(dnbinom(y, mu = mu, size = 1.7, log = TRUE)))) })
cat(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = TRUE, null = "null"))
