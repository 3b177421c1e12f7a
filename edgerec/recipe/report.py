"""``[report]``: what is measured for the report and shown in it."""

from pydantic import Field

from edgerec.recipe.section import Section


class Report(Section):
    """What is measured for the report and shown in it."""

    histories: int = Field(500, ge=1, description="real histories for latency and for comparing runtimes")
    examples: int = Field(1, ge=0, description="users whose recommendations are shown")
