"""``edgerec keygen``, ``sign`` and ``delta``: what a model needs on its way to devices."""

from pathlib import Path

import click


@click.command()
@click.argument("key", type=click.Path(dir_okay=False, path_type=Path))
def keygen(key: Path) -> None:
    """Make a key to sign models with: KEY, which must stay secret, and the public key beside it, for the devices.

    Example: edgerec keygen release.pem
    """
    from device_runner.signature import make_key

    public, key_id = make_key(key)
    click.echo(f"{key}: private key {key_id}; keep it off the devices, and keep a copy: it cannot be restored")
    click.echo(f"{public}: public key, for edgerec-device update --require-key")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The private key (PEM), as keygen made it.")
def sign(model: Path, key: Path) -> None:
    """Sign every byte of MODEL; the signature goes to MODEL.sig, which travels with it.

    Example: edgerec sign model.tflite --key release.pem
    """
    from device_runner.bundle import Bundle
    from device_runner.signature import sign as sign_file
    from device_runner.signature import signature_path

    bundle = Bundle.read(model)  # nobody means to sign a damaged file
    key_id = sign_file(model, key)
    click.echo(f"{signature_path(model)}: signed by {key_id} (release {bundle.release})")


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def delta(old: Path, new: Path, out: Path) -> None:
    """Write to OUT what devices that have the model OLD need for the model NEW, with the signature NEW.sig, if any.

    Example: edgerec delta model-1.tflite model-2.tflite 1-to-2.delta
    """
    from device_runner.bundle import Bundle
    from device_runner.delta import write_delta
    from device_runner.signature import read_lines, signature_path, to_text

    for model in (old, new):
        Bundle.read(model)
    signed = signature_path(new)
    size = write_delta(old, new, out, to_text(read_lines(signed)) if signed.exists() else None)
    whole = new.stat().st_size
    click.echo(f"{out}: {size:,} bytes, {size / whole:.1%} of {whole:,}{'' if signed.exists() else '; not signed'}")
