"""How a model is run: the stored choice of this box, and what a model was opened with."""

from __future__ import annotations

from edgeinfer.plan.choice import PREPROCESS, Choice, Plan
from edgeinfer.plan.stored import (
    SCHEMA,
    StoredPlan,
    contradictions,
    recall_plan,
    sealed,
    store_plan,
    versions_of,
    why_stale,
)
from edgeinfer.plan.variants import Variant, find_variants, variant_of

__all__ = [
    "PREPROCESS",
    "SCHEMA",
    "Choice",
    "Plan",
    "StoredPlan",
    "Variant",
    "contradictions",
    "find_variants",
    "recall_plan",
    "sealed",
    "store_plan",
    "variant_of",
    "versions_of",
    "why_stale",
]
