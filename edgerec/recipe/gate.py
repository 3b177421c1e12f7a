"""``[gate]``: limits for the file that ships. Beyond them the command fails with exit code 3."""

from pydantic import Field

from edgerec.recipe.section import Section


class Gate(Section):
    """Limits for the last scheme of ``convert.schemes`` (the file that ships); none by default."""

    max_ndcg_drop: float | None = Field(None, description="relative to the trained Keras model, 0.02 = 2 %")
    non_inferiority_margin: float | None = Field(
        None,
        gt=0,
        description="the same for the upper end of the loss's 95 % interval: the file must be shown to lose less. It "
        "is the margin of the report's verdict as well, which is 0.05 otherwise",
    )
    max_tier_ndcg_drop: float | None = Field(
        None, description="the same as max_ndcg_drop for the popularity tier that loses most: head, torso or tail"
    )
    min_overlap: float | None = Field(None, ge=0, le=1, description="mean top-10 overlap with the Keras model")
    min_rbo: float | None = Field(None, ge=0, le=1, description="mean rank-biased overlap (p = 0.9) with it")
    min_gain_over_baselines: float | None = Field(
        None, description="NDCG@10 relative to the best baseline, 0.05 = at least 5 % better"
    )
    max_bytes: int | None = Field(None, gt=0)
    max_p95_ms: float | None = Field(None, gt=0)
