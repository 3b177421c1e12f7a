"""``[gate]`` of a ranking recipe."""

from pydantic import Field

from edgerec.recipe.section import Section


class RankingGate(Section):
    """Limits for the last scheme of ``convert.schemes`` (the file that ships); none by default."""

    max_loss: float | None = Field(
        None,
        description="of the main figure against the trained Keras model, relative: rise of the RMSE of ratings, fall "
        "of the AUC of clicks; 0.02 = 2 %",
    )
    min_kendall_tau: float | None = Field(
        None, ge=-1, le=1, description="mean agreement with the order that the Keras model gives a user's candidates"
    )
    max_score_error: float | None = Field(
        None, gt=0, description="root mean square difference of scores, in standard deviations of the Keras model's"
    )
    min_gain_over_baselines: float | None = Field(
        None, description="of the main figure over the best baseline, relative: 0.02 = at least 2 % better"
    )
    max_bytes: int | None = Field(None, gt=0)
    max_p95_ms: float | None = Field(None, gt=0)
