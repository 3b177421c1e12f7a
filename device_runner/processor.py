"""What the system's files say of the processor. ``root`` is the folder in which ``proc`` and ``sys`` are."""

from pathlib import Path

ROOT = Path("/")
# What decides which kernels a runtime takes, by the names of /proc/cpuinfo on ARM and x86-64.
CPU_FEATURES = frozenset(
    {
        "asimd", "neon", "vfpv4", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2",
        "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512vl", "avx512_vnni", "avx_vnni", "amx_int8",
    }
)  # fmt: skip


def cpu_features(root: Path = ROOT) -> list[str]:
    """Which of the features that matter to a runtime the processor has, by their names in ``/proc/cpuinfo``."""
    facts = cpuinfo(root)
    return sorted(CPU_FEATURES.intersection((facts.get("Features") or facts.get("flags") or "").split()))


def read(root: Path, path: str) -> str:
    """The text of a file of the system, without the white space around it; ``""`` where it cannot be read."""
    try:
        return (root / path).read_text(errors="replace").strip()
    except OSError:
        return ""


def cpuinfo(root: Path) -> dict[str, str]:
    """The facts of ``/proc/cpuinfo``, of the last core where they differ (the fast ones of a big.LITTLE processor)."""
    facts = {}
    for line in read(root, "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if value.strip():
            facts[key.strip()] = value.strip()
    return facts
