"""The report of ``bench`` as one page: no script, no request, light or dark as the reader's system is."""

from collections.abc import Iterable, Mapping
from html import escape
from string import Template
from typing import Any

from device_runner.bench.compare import kind_of, shown_figure
from device_runner.bench.measure_ranking import USUAL
from device_runner.bench.page_template import PAGE

# Names for people of the parts of the cold start and of the file, in the order of their bars.
COLD_PARTS = {
    "python": "Python",
    "packages": "numpy and edgerec",
    "import": "runtime",
    "load": "load",
    "first": "first call",
}
FILE_PARTS = {
    "item_table": "item table",
    "transitions": "transitions",
    "prior": "prior",
    "network": "network",
    "ids": "ids",
    "titles": "titles",
}
STATE = {
    "governor": ("governor", "{}"),
    "clock_mhz": ("clock", "{:,.0f} MHz"),
    "clock_limit_mhz": ("clock limit", "{:,.0f} MHz"),
    "temperature_c": ("temperature", "{:.1f} °C"),
    "throttle_events": ("throttle events", "{:,.0f}"),
    "load_1min": ("load of the last minute", "{:.2f}"),
    "memory_free_mb": ("free memory", "{:,.0f} MB"),
}
SHOWN_OPERATORS = 12


def page_of(report: Mapping[str, Any]) -> str:
    """HTML of a report of ``bench`` (schema 2)."""
    device, cold, sizes = report["device"], report["cold_start_ms"], report["bytes"]
    board = device["board"] or device["cpu"]
    rest = sum(size for name, size in sizes.items() if name not in FILE_PARTS and name != "total")
    file_parts = {said: sizes[name] for name, said in FILE_PARTS.items() if sizes.get(name)}
    return Template(PAGE).substitute(
        title=escape(f"{report['name']} on {board}"),
        name=escape(report["name"]),
        board=escape(board),
        subtitle=escape(
            f"{report['scheme']} · {report['backend']} {report['backend_version'] or ''} · {report['threads']} "
            f"thread{'s' if report['threads'] > 1 else ''} · {report['runs']:,} calls on {_asked(report)} · "
            f"{report['measured_at'][:16].replace('T', ' ')} UTC"
        ),
        tiles="".join(_tiles(report)),
        latency=_latency(report),
        cold=_stack({said: cold[name] for name, said in COLD_PARTS.items()}, lambda value: f"{value:.1f} ms"),
        cold_total=f"{cold['process']:.0f}",
        processes=report["cold_starts"]["processes"],
        file=_stack({**file_parts, "rest": rest}, lambda value: f"{value / 1000:.1f} kB"),
        file_total=f"{sizes['total'] / 1000:,.1f}",
        operators=_operators(report["operators"]),
        compared=_compared(report.get("compared")),
        state=_state(device),
        device="".join(_device_rows(device)),
        fingerprint=escape(report["fingerprint"]),
        version=escape(report["edgerec"]),
    )


def _asked(report: Mapping[str, Any]) -> str:
    """What the calls were made with, in words."""
    if kind_of(report) == "ranking":
        return f"{report['requests']:,} request{'s' if report['requests'] > 1 else ''}"
    return f"{report['histories']:,} {'histories' if report['histories'] > 1 else 'history'}"


def _tiles(report: Mapping[str, Any]) -> Iterable[str]:
    ranking = kind_of(report) == "ranking"
    if ranking:
        yield _tile(_ms(report["score_ms"][str(USUAL)]["p50"]), f"{USUAL} candidates (p50)")
    else:
        yield _tile(_ms(report["recommend_ms"]["p50"]), "a recommendation (p50)")
        if report["step_ms"]:
            yield _tile(_ms(report["step_ms"]["p50"]), "one more event (p50)")
    yield _tile(f"{report['cold_start_ms']['process']:.0f} ms", "process start to first answer")
    yield _tile(f"{report['peak_rss_mb']:.0f} MB", "peak memory")
    yield _tile(f"{report['bytes']['total'] / 1000:,.0f} kB", "file")
    yield _tile(f"{report['throughput_per_s']:,.0f}", f"{'candidates' if ranking else 'recommendations'} a second")
    if report["energy"]:
        yield _tile(
            f"{report['energy']['joules'] * 1e3:.2f} mJ",
            f"{f'{USUAL} candidates' if ranking else 'a recommendation'}, at {report['energy']['watts']:.1f} W",
        )


def _tile(figure: str, label: str) -> str:
    return f"<div class=tile><b>{escape(figure)}</b><span>{escape(label)}</span></div>"


def _latency(report: Mapping[str, Any]) -> str:
    """A row for each kind of call: a bar to the median, ticks at p90 and p99, and the figures."""
    kinds = {"recommend_ms": "recommend()", "invoke_ms": "bare model", "step_ms": "step and recommend"}
    found = {said: report[name] for name, said in kinds.items() if report.get(name)}
    found = {f"score({count})": times for count, times in report.get("score_ms", {}).items()} | found
    # The scale ends at the largest p90: one late call must not press all bars flat.
    end = max(times["p90"] for times in found.values()) * 1.08
    rows = []
    for said, times in found.items():
        p50, p90 = 100 * times["p50"] / end, 100 * times["p90"] / end
        p99 = f"<i class=tick style='left:{100 * times['p99'] / end:.2f}%'></i>" if times["p99"] <= end else ""
        rows.append(
            f"<tr><th scope=row>{escape(said)}</th><td class=track><div class=bar style='width:{p50:.2f}%'></div>"
            f"<i class='tick strong' style='left:{p90:.2f}%'></i>{p99}</td>"
            f"<td>{_ms(times['p50'])}</td><td>{_ms(times['p90'])}</td><td>{_ms(times['p99'])}</td></tr>"
        )
    return "".join(rows)


def _stack(parts: Mapping[str, float], said: Any) -> str:
    """One bar in parts, and its legend."""
    total = sum(parts.values()) or 1.0
    pieces = [
        f"<div class='piece c{place}' style='flex:{value / total:.5f}' title='{escape(name)}: {said(value)}'></div>"
        for place, (name, value) in enumerate(parts.items())
        if value > 0
    ]
    legend = [
        f"<li><i class=c{place}></i>{escape(name)} <b>{said(value)}</b></li>"
        for place, (name, value) in enumerate(parts.items())
        if value > 0
    ]
    return f"<div class=stack>{''.join(pieces)}</div><ul class=legend>{''.join(legend)}</ul>"


def _operators(operators: list[dict[str, Any]] | None) -> str:
    if not operators:
        return "<p class=muted>This runtime, in this version, offers no profile that is known.</p>"
    largest = operators[0]["share"] or 1.0
    rows = [
        f"<tr><th scope=row>{escape(entry['operator'])}</th><td class=track>"
        f"<div class=bar style='width:{100 * entry['share'] / largest:.2f}%'></div></td>"
        f"<td>{entry['share']:.1%}</td><td>{entry['calls']:g}</td>"
        f"<td>{'XNNPACK' if entry['delegate'] else ''}</td></tr>"
        for entry in operators[:SHOWN_OPERATORS]
    ]
    more = len(operators) - len(rows)
    note = f" {more} more take {sum(entry['share'] for entry in operators[len(rows) :]):.1%}." if more > 0 else ""
    return (
        "<div class=scroll><table><tr><th>operator<th class=track><th>share<th>calls<th>by</tr>"
        f"{''.join(rows)}</table></div><p class=muted>Shares of the profiled time, for comparison: profiling takes "
        f"time for each operator. WHILE includes the operators of its body.{note}</p>"
    )


def _compared(compared: Mapping[str, Any] | None) -> str:
    if compared is None:
        return ""
    rows = [
        f"<tr><th scope=row>{escape(change['figure'])}</th><td>{shown_figure(change['before'])}</td>"
        f"<td>{shown_figure(change['after'])}</td><td class={_judged(change)}>{change['change']:+.1%}</td></tr>"
        for change in compared["changes"]
    ]
    notes = "".join(f"<p class=muted>Note: {escape(sentence)}.</p>" for sentence in compared["circumstances"])
    return (
        f"<section><h2>Against {escape(compared['with'])}</h2><div class=scroll><table><tr><th>figure<th>before<th>now"
        f"<th>change</tr>{''.join(rows)}</table></div><p class=muted>A figure that is "
        f"more than {compared['threshold']:.0%} worse fails the comparison; p99 is only shown.</p>{notes}</section>"
    )


def _judged(change: Mapping[str, Any]) -> str:
    return "bad" if change["worse"] else "good" if change["better"] else "same"


def _state(device: Mapping[str, Any]) -> str:
    rows = []
    for name, (said, form) in STATE.items():
        before, after = (device[when][name] for when in ("before", "after"))
        if before is not None or after is not None:
            rows.append(
                f"<tr><th scope=row>{said}</th>"
                + "".join(f"<td>{escape(form.format(one)) if one is not None else '–'}</td>" for one in (before, after))
                + "</tr>"
            )
    for when in ("before", "after"):
        reasons = device[when]["throttled"]
        if reasons is not None:
            rows.append(
                f"<tr><th scope=row>throttling {when}</th><td colspan=2 class={'bad' if reasons else 'good'}>"
                f"{escape(', '.join(reasons) or 'none')}</td></tr>"
            )
    return "".join(rows)


def _device_rows(device: Mapping[str, Any]) -> Iterable[str]:
    facts = {
        "board": device["board"],
        "processor": device["cpu"],
        "architecture": f"{device['machine']}, {device['cores']} cores",
        "features": ", ".join(device["cpu_features"]),
        "memory": f"{device['memory_mb']:,.0f} MB" if device["memory_mb"] else None,
        "kernel": device["kernel"],
    }
    for said, fact in facts.items():
        if fact:
            yield f"<tr><th scope=row>{said}</th><td class=text>{escape(fact)}</td></tr>"


def _ms(value: float) -> str:
    return f"{value * 1e3:.0f} µs" if value < 1 else f"{value:.2f} ms"
