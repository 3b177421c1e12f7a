"""``edgerec-device update``, ``rollback`` and ``verify``: a new model on the device, or the old one again."""

from dataclasses import asdict
from pathlib import Path

import click

from device_runner.cli.options import BACKEND, MODEL
from device_runner.command import json_option, print_json

CURRENT = click.argument("current", type=click.Path(path_type=Path))
KEY = click.option(
    "--require-key",
    "key",
    type=click.Path(path_type=Path),
    metavar="PUB",
    help="Refuse a model that is not signed by this public key (PEM).",
)
SIGNATURE = click.option(
    "--signature",
    type=click.Path(path_type=Path),
    help="Signature file of the model. Default: the model's name with .sig, or the one inside a delta.",
)


@click.command(short_help="Put a new model in service, after a trial.")
@CURRENT
@click.argument("new", type=click.Path(path_type=Path))
@KEY
@SIGNATURE
@click.option("--allow-downgrade", is_flag=True, help="Accept a smaller release than that of CURRENT.")
@click.option("--allow-other-catalogue", is_flag=True, help="Accept a model that has no item of CURRENT.")
@BACKEND
@json_option
def update(
    current: Path,
    new: Path,
    key: Path | None,
    signature: Path | None,
    allow_downgrade: bool,
    allow_other_catalogue: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Put the model NEW in service as CURRENT; NEW is a bundle, or a delta that edgerec delta made.

    NEW is checked and tried in a process of its own before it takes CURRENT's place, at one stroke; CURRENT is kept as
    CURRENT.previous. If anything is wrong with NEW, CURRENT stays.

    Example: edgerec-device update model.tflite new.tflite --require-key release.pub.pem
    """
    from device_runner.update import update as put_in_service

    done = put_in_service(current, new, key, signature, allow_downgrade, allow_other_catalogue, backend)
    if as_json:
        print_json(asdict(done))
        return
    if not done.changed:
        click.echo(f"{current} is this model already (release {done.release}).")
        return
    how = ["delta applied"] if done.delta else []
    how += [f"signed by {done.key_id}"] if done.key_id else []
    how += [f"{done.cases} golden vectors passed"]
    click.echo(f"{current} is release {done.release} now: {', '.join(how)}.")
    if done.previous_release is not None:
        click.echo(
            f"{done.shared_items:,} of its {done.items:,} items were in release {done.previous_release}, which is kept "
            f"as {current}.previous."
        )


@click.command(short_help="Put the model before the last update in service.")
@CURRENT
@KEY
@BACKEND
@json_option
def rollback(current: Path, key: Path | None, backend: str, as_json: bool) -> None:
    """Put the model before the last update in service again; a second rollback undoes the first.

    Example: edgerec-device rollback model.tflite
    """
    from device_runner.update import rollback as put_back

    done = put_back(current, key, backend)
    if as_json:
        print_json(asdict(done))
    elif done.changed:
        click.echo(f"{current} is release {done.release} again: {done.cases} golden vectors passed.")
    else:
        click.echo(f"{current}.previous is the same model (release {done.release}); nothing was changed.")


@click.command(short_help="Check that a model is signed by a key.")
@MODEL
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PUB",
    help="The public key (PEM), as keygen made it.",
)
@SIGNATURE
def verify(model: Path, key: Path, signature: Path | None) -> None:
    """Check that MODEL is signed by a key: every byte is as it was signed.

    Example: edgerec-device verify model.tflite --key release.pub.pem
    """
    from device_runner.signature import read_lines, to_text
    from device_runner.signature import verify as check

    key_id = check(model, key, None if signature is None else to_text(read_lines(signature)))
    click.echo(f"{model}: signed by {key_id}")
