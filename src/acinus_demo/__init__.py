"""Procedural H&E: demonstration cohorts in real on-disk layouts, drawn from a seed.

`texture`, `outline`, `ground`, `nuclei`, `stain`, `render` and `pyramid` are what every family is drawn
with. `slides`, `camelyon`, `panda`, `rgb_mask` and `pannuke` plan and write the cohorts; `tools` writes annotation
files; the other modules draw the tissues that they show. Pictures are the same bytes on every x86 machine: pixels
see only + - * / sqrt, comparisons and table look-ups, and what needs a sine or an exponential is rounded first.
"""
