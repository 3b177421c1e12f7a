"""``edgerec``: a thin layer over the stages. Everything heavy is imported inside the commands, so that ``--help`` is
quick and a device install can say which extra is missing.
"""

import click

from device_runner import __version__
from device_runner.cli.bench import bench
from device_runner.command import CONTEXT, Group
from edgerec.cli.compare import compare
from edgerec.cli.data import data
from edgerec.cli.demo import demo
from edgerec.cli.ensemble import ensemble
from edgerec.cli.evaluate import evaluate
from edgerec.cli.export import export
from edgerec.cli.init import init
from edgerec.cli.push import push
from edgerec.cli.recommend import recommend
from edgerec.cli.release import delta, keygen, sign
from edgerec.cli.run import report, run
from edgerec.cli.stages import convert, prune, quantize, train
from edgerec.cli.sweep import sweep


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="edgerec")
def main() -> None:
    """Train, prune, quantize and ship a recommender that runs on the device."""


COMMANDS = (
    init, run, report, data, train, prune, quantize, convert, sweep, bench, ensemble, evaluate, compare, recommend,
    keygen, sign, delta, export, push, demo,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
