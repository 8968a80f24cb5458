"""What of plug-ins makes a result: their part of the digest of each stage's code, and of what outlives a killed stage.

A file of plug-ins counts whole, by its syntax tree, with what it imports. It counts for the stages that use its kinds,
whichever recipe they run; one that recipes name counts only where a recipe of the project does.
"""

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import packages_distributions

from acinus.code import LIBRARIES, STAGES, imports_of, installed, package, tree_digest, without_build
from acinus.plugins import Kind, finding
from acinus.plugins.finding import Plugin

Facts = dict[str, dict[str, str]]

LOOKED_UP_IN: dict[Kind, str] = {
    "loss": "acinus.learning.losses",
    "network": "acinus.learning.models",
    "encoder": "acinus.learning.segmenters",
    "augmentation": "acinus.learning.augmentation",
    "metric": "acinus.metrics.registry",
    "annotation_reader": "acinus.annotations.reading",
}
"""Kind -> the module that looks for plug-ins of it: a stage uses the kind where its code imports that module."""

COHORT_STAGES = (
    *("inventory", "ingest", "index", "validate", "extract", "calibrate", "infer", "quantify", "embed"),
    *("grade", "report"),
)
"""Stages that read a recipe's section cohort, which a family says the keys and the meaning of."""

NAMED: frozenset[Kind] = frozenset({"loss", "network", "encoder", "augmentation", "cohort_family"})
"""Kinds that a recipe names; the others are used wherever they can be."""


def stage_facts(stage: str) -> Facts:
    """Return `Package.facts` of a stage, with the plug-ins that it uses under `plugins`: file -> digest.

    AcinusError: see `finding.everything`.
    """
    facts = package().facts(f"{STAGES}.{stage}")
    used = [plugin for plugin in _in_use() if _uses(stage, facts["modules"], plugin.kind)]
    if not used:
        return facts
    return _facts(used, f"{STAGES}.{stage}")


def digest(named: Iterable[tuple[Kind, str | None]]) -> str:
    """Return a digest of the plug-ins among (kind, name), of all that their files import; empty where there is none."""
    kinds = {kind: finding.found(kind) for kind in LOOKED_UP_IN}
    plugins = [kinds[kind][name] for kind, name in named if name is not None and name in kinds[kind]]
    if not plugins:
        return ""
    return hashlib.blake2b(json.dumps(_facts(plugins), sort_keys=True).encode(), digest_size=16).hexdigest()


def network_digest(kind: Kind, name: str | None) -> str:
    """Return a digest of the file of a network or an encoder alone, as a model's card keeps; empty: no plug-in."""
    plugin = finding.found(kind).get(name or "")
    return tree_digest(plugin.source.path.read_bytes()) if plugin else ""


def _facts(plugins: Iterable[Plugin], *modules: str) -> Facts:
    """Return the facts of modules with those of plug-ins' files and of all that these import."""
    sources = {plugin.source.shown: plugin.source for plugin in plugins}
    texts = {shown: source.path.read_bytes() for shown, source in sources.items()}
    imported = {name for content in texts.values() for name in _imported(content)}
    facts = package().facts(*modules, *(imported & package().paths.keys()))
    facts["libraries"] |= _libraries(imported)
    for source in sources.values():
        if source.entry and source.entry.dist:  # a package's file counts with the rest of it
            facts["libraries"][source.entry.dist.name] = source.entry.dist.version
    return facts | {"plugins": {shown: tree_digest(content) for shown, content in texts.items()}}


def _in_use() -> list[Plugin]:
    """Return the plug-ins that a recipe of the project names, and those that no recipe need name."""
    plugins = finding.everything()
    root = finding.project()
    if not plugins or root is None:
        return plugins
    recipes = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in root.glob("recipes/*.yaml"))
    return [
        plugin
        for plugin in plugins
        if plugin.kind not in NAMED or re.search(rf"(?<![\w-]){re.escape(plugin.name)}(?![\w-])", recipes)
    ]


def _uses(stage: str, modules: Mapping[str, str], kind: Kind) -> bool:
    return stage in COHORT_STAGES if kind == "cohort_family" else LOOKED_UP_IN[kind] in modules


@lru_cache(maxsize=64)
def _imported(content: bytes) -> frozenset[str]:
    return frozenset(imports_of(ast.parse(content)))


def _libraries(imported: Iterable[str]) -> dict[str, str]:
    """Return the version of every library that files import, whatever it is."""
    tops = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names - {"acinus", ""}
    packages = {known for top in tops for known in LIBRARIES.get(top, ())}
    strangers = tops - LIBRARIES.keys()
    if strangers:
        by_import = packages_distributions()
        packages |= {name for top in strangers for name in by_import.get(top, (top,))}
    return {name: without_build(installed(name)) for name in packages}
