"""The built-in learners that compare features: their descriptors, which `hnas_plugins.meta_learners` registers."""

from hnas import Plugin

_HERE = "hnas_plugins.metric_learners"

METRIC_LEARNERS = [
    Plugin(
        name="prototypical",
        summary="prototypical networks: the class whose mean of features is nearest",
        factory=f"{_HERE}.prototypical:prototypical",
        options=f"{_HERE}.options:ComparingOptions",
    ),
    Plugin(
        name="matching",
        summary="matching networks: attention over the support images, by cosine",
        factory=f"{_HERE}.matching:matching",
        options=f"{_HERE}.matching:MatchingOptions",
    ),
    Plugin(
        name="relation",
        summary="relation networks: a small network compares the maps of a class and an image",
        factory=f"{_HERE}.relation:relation",
        options=f"{_HERE}.relation:RelationOptions",
    ),
    Plugin(
        name="siamese",
        summary="siamese networks: the best match by a weighted L1 distance, trained on pairs",
        factory=f"{_HERE}.siamese:siamese",
        options=f"{_HERE}.options:ComparingOptions",
    ),
    Plugin(
        name="meta-baseline",
        summary="Meta-Baseline: a classifier of all training classes, then the nearest centroid by cosine",
        factory=f"{_HERE}.meta_baseline:meta_baseline",
        options=f"{_HERE}.meta_baseline:MetaBaselineOptions",
    ),
    Plugin(
        name="deepemd",
        summary="DeepEMD: the earth mover's distance between the places of two images",
        factory=f"{_HERE}.deepemd:deepemd",
        options=f"{_HERE}.deepemd:DeepEMDOptions",
    ),
]
