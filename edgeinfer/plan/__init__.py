"""How a model is run: the stored choice of this box, and what a model was opened with."""

from __future__ import annotations

from edgeinfer.plan.choice import OBJECTIVES, PREPROCESS, Choice, Plan
from edgeinfer.plan.stored import (
    SCHEMA,
    StoredPlan,
    contradictions,
    plan_path,
    preferred,
    recall_plans,
    sealed,
    store_plan,
    versions_of,
    why_stale,
)
from edgeinfer.plan.variants import Variant, find_variants, variant_of

__all__ = [
    "OBJECTIVES",
    "PREPROCESS",
    "SCHEMA",
    "Choice",
    "Plan",
    "StoredPlan",
    "Variant",
    "contradictions",
    "find_variants",
    "plan_path",
    "preferred",
    "recall_plans",
    "sealed",
    "store_plan",
    "variant_of",
    "versions_of",
    "why_stale",
]
