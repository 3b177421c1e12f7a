"""The page of ``page_of``, as a ``string.Template``: a device has no template engine."""

PAGE = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=color-scheme content="light dark">
<title>$title</title>
<style>
  :root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --ink: #1f2328; --muted: #5f666d; --line: #e3e3df;
    --accent: #2f6fb0; --track: #ecece8; --good: #1b7f3b; --bad: #b00020;
    --c0: #2f6fb0; --c1: #e08b3e; --c2: #3d9a78; --c3: #a65fa3; --c4: #c9a227; --c5: #6c8ebf; --c6: #9aa0a6 }
  @media (prefers-color-scheme: dark) {
    :root { --page: #131518; --card: #1b1e22; --ink: #e2e4e7; --muted: #9aa1a9; --line: #2d3238; --track: #282c32;
      --accent: #6aa6e0; --good: #6cc789; --bad: #ff8a94;
      --c0: #6aa6e0; --c1: #eaa667; --c2: #63bd9c; --c3: #c58bc2; --c4: #dcbd57; --c5: #8fb0dd; --c6: #7b838b }
  }
  * { box-sizing: border-box }
  body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
    max-width: 60rem; padding: 1.5rem 1rem 3rem }
  h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 } h1 span { color: var(--muted); font-weight: 400 }
  h2 { font-size: 1rem; margin: 0 0 .6rem } p { margin: .4rem 0 0 }
  .muted { color: var(--muted); font-size: .85rem }
  .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.6rem, 1fr)); gap: .6rem; margin: 1.2rem 0 }
  .tile, section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem }
  .tile { padding: .7rem .8rem } .tile b { display: block; font-size: 1.45rem; font-weight: 600; line-height: 1.2 }
  .tile span { color: var(--muted); font-size: .8rem }
  section { padding: 1rem; margin: .8rem 0; min-width: 0 }
  .two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 .8rem }
  .scroll { overflow-x: auto }
  table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums }
  th, td { padding: .3rem .45rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
  tr:last-child > * { border-bottom: 0 } th { font-weight: 500 } tr > :first-child { text-align: left; padding-left: 0 }
  th[scope=row] { color: var(--muted) } td.text { text-align: left; white-space: normal; overflow-wrap: anywhere }
  .track { position: relative; width: 45%; min-width: 6rem } td.track { padding: 0 }
  td.track::before { content: ""; position: absolute; inset: 50% 0 auto; height: .55rem; translate: 0 -50%;
    background: var(--track); border-radius: .3rem }
  .bar { position: absolute; top: 50%; translate: 0 -50%; height: .55rem; background: var(--accent);
    border-radius: .3rem; min-width: 2px }
  .tick { position: absolute; top: 50%; translate: -50% -50%; width: 2px; height: .9rem; background: var(--muted) }
  .tick.strong { background: var(--ink) }
  .stack { display: flex; gap: 2px; height: 1.1rem; border-radius: .35rem; overflow: hidden } .piece { min-width: 2px }
  .legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; margin: .6rem 0 0;
    font-size: .85rem; color: var(--muted) } .legend b { color: var(--ink); font-weight: 500 }
  .legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: .2rem; margin-right: .35rem }
  .c0 { background: var(--c0) } .c1 { background: var(--c1) } .c2 { background: var(--c2) }
  .c3 { background: var(--c3) }
  .c4 { background: var(--c4) } .c5 { background: var(--c5) } .c6 { background: var(--c6) }
  .good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
  code { font-size: .85em; overflow-wrap: anywhere }
  @media (max-width: 30rem) { .track { width: 14%; min-width: 2.2rem } table { font-size: .8rem }
    th, td { padding: .3rem .22rem }
    th[scope=row] { white-space: normal } }
</style>
</head>
<body>
<h1>$name <span>on $board</span></h1>
<p class=muted>$subtitle</p>
<div class=tiles>$tiles</div>
$compared
<section><h2>Latency</h2><div class=scroll><table>
<tr><th><th class=track><th>p50<th>p90<th>p99</tr>$latency</table></div>
<p class=muted>Bar: p50; black tick: p90; grey tick: p99 where it is within the scale. The whole call and the bare model
were timed in turn.</p></section>
<div class=two>
<section><h2>Cold start: $cold_total ms</h2>$cold<p class=muted>From the start of a process to its first answer;
median of $processes processes.</p></section>
<section><h2>File: $file_total kB</h2>$file</section>
</div>
<section><h2>Operators</h2>$operators</section>
<div class=two>
<section><h2>Device</h2><table>$device</table></section>
<section><h2>State</h2><table><tr><th><th>before<th>after</tr>$state</table></section>
</div>
<p class=muted>edgerec $version · model <code>$fingerprint</code></p>
</body>
</html>
"""
