# Writes cases.json: what R and lme4 1.1 read in formulas.
#   Rscript make_cases.R          (R 4.2.2, lme4 1.1-31, jsonlite 1.8.4)
# deparse: the lines of deparse(); terms: the intercept and labels of terms(), with "." standing
# for the columns a, b and `a b`; update: update.formula(); groups: names of the grouping factors
# of findbars(), in lme4's order.
suppressMessages({library(lme4); library(jsonlite)})
set.seed(20)

pick <- function(x, n = 1) sample(x, n, replace = TRUE)
vars <- c("x", "y", "Days", "time.point", "a_very_long_variable_name", "`a b`", "Subject")
ops <- c(rep("+", 8), "-", "*", ":", "/", "^", "%in%", "|", ">", "&")

atom <- function(depth) {
  kind <- runif(1)
  if (depth <= 0 || kind < .6) return(pick(vars))
  if (kind < .85) {
    f <- pick(c("log", "poly", "ns", "I", "splines::ns", "scale", "factor", "`my f`"))
    n <- pick(c(1, 1, 2, 3, 6))
    args <- vapply(seq_len(n), function(i) paste0(pick(c("", "df = ")), expr(depth - 2)), "")
    return(paste0(f, "(", paste(args, collapse = ","), ")"))
  }
  if (kind < .9) return(pick(c("1", "0", "1e5", "2L", "0.001", "123456.789", "\"abc\"", "TRUE")))
  paste0("(", expr(depth - 1), ")")
}
expr <- function(depth) {
  if (depth <= 0 || runif(1) < .25) return(atom(depth))
  op <- pick(ops)
  if (op == ">") return(paste0("(", atom(depth - 1), ">", atom(depth - 1), ")"))
  n <- if (op == "+") pick(c(2, 2, 3, 4, 8)) else 2
  paste(vapply(seq_len(n), function(i) expr(depth - 1), ""), collapse = paste0(" ", op))
}
long <- function() {
  n <- pick(c(1, 2, 3, 6))
  rhs <- paste(vapply(seq_len(n), function(i) expr(pick(1:4)), ""), collapse = " + ")
  paste(pick(c("y", "log(y)", "Reaction")), "~", rhs)
}
sources <- character()
while (length(sources) < 120) {
  s <- long()
  if (nchar(s) < 600) sources <- c(sources, s)
}
long_name <- strrep("x", 40)
nest <- function(inner, i) paste0("f(", long_name, ", ", long_name, ", ", inner, ")")
sources <- c(sources, paste("y ~", Reduce(nest, 1:8, "z")))
deparsed <- lapply(sources, function(s) list(source = s, lines = I(deparse(str2lang(s)))))

columns <- c("a", "b", "a b")
frame <- as.data.frame(c(list(y = 1), setNames(as.list(rep(1, 3)), columns)), optional = TRUE)
factors <- c("a", "b", "`a b`", "I(a^2)", "log(b)", ".")
algebra <- function(depth) {
  kind <- runif(1)
  if (depth == 0 || kind < .2) return(pick(factors))
  if (kind < .3) return(paste0("(", algebra(depth - 1), ")"))
  if (kind < .36) return(paste0("(", pick(factors), " + ", pick(factors), ")^", pick(2:3)))
  op <- pick(c("+", "+", "*", ":", "/", "%in%"))
  paste(algebra(depth - 1), op, algebra(depth - 1))
}
predictor <- function() {
  ends <- pick(c("+ 1", "+ 0", "- 1", "- a", "- a:b", "- (a + b)"), pick(0:2))
  paste(c(pick(c("", "0 +", "-1 +")), algebra(pick(1:4)), ends), collapse = " ")
}
predictors <- unique(vapply(1:150, function(i) predictor(), ""))
expand <- function(s) {
  t <- terms(as.formula(paste("y ~", s)), data = frame)
  list(source = s, intercept = attr(t, "intercept") == 1, labels = I(attr(t, "term.labels")))
}

fixed <- c("x", "z", "x:z", "a*b", "I(x^2)", "log(z)", "offset(w)", "0", "(a+b)^2", "a/b", "1")
random <- c("(1|g)", "(x|g)", "(0+x|g)", "(1|g/h)", "(1|h)", "(x-1|h)")
old <- function() {
  paste("y ~", paste(c(pick(fixed, pick(0:4)), sample(random, 2)), collapse = " + "))
}
change <- function(s) {
  parts <- paste(pick(c("+", "-"), 2), pick(fixed[1:6], 2))
  held <- random[vapply(random, grepl, NA, x = s, fixed = TRUE)]
  extra <- pick(c("", paste("-", held[1]), paste("+", pick(random)), "- 1"))
  paste(pick(c(".", "log(.)", "")), "~", pick(c(".", "(.)", "z + .")), parts[1], parts[2], extra)
}
updates <- lapply(1:80, function(i) {
  s <- old()
  ch <- change(s)
  new <- update(as.formula(s), as.formula(ch))
  list(source = s, change = ch, text = paste(deparse(new, width.cutoff = 500), collapse = " "))
})

bars <- c("1 | a", "1 | a:b", "1 | b:a", "1 | a/b", "1 | a/b/c", "1 | a/b/c/d", "x | a/b",
          "x || a", "x || a/b", "x + z || a", "x * z || a", "0 + x || a", "x - 1 || a",
          "1 | a:(b:c)", "1 | (a:b):c", "1 | a/b:c", "1 | `my g`", "1 | `my g`:b",
          "1 | b/`my g`", "1 | factor(a)", "1 | interaction(a, b)", "1 | (a)")
groups <- lapply(bars, function(s) {
  found <- findbars(as.formula(paste0("y ~ (", s, ")")))
  list(source = s, names = I(vapply(found, function(b) deparse(b[[3]]), "")),
       bars = I(vapply(found, deparse, "")))
})

write_json(list(deparse = deparsed, terms = lapply(predictors, expand), update = updates,
                groups = groups), "cases.json", auto_unbox = TRUE, pretty = 1)
