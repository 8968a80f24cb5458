"""Procedural H&E: demonstration cohorts in real on-disk layouts, drawn from a seed.

`texture`, `outline`, `stain`, `nuclei`, `render` and `pyramid` are the primitives that every
family shares; `node` arranges them into a lymph node, `layout` plans slides, `camelyon` writes
a cohort. Pictures are the same bytes on every x86 machine: pixels see only + - * / sqrt,
comparisons and table look-ups, and what needs a sine or an exponential is rounded first.
"""
