"""How a report looks: on paper, on a phone, in light and in dark."""

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b2430; --soft: #5a6676; --line: #dfe4ea; --wash:
  #f5f7f9; --good: #0a7a52; --glow: #e4f4ec; --bad: #b23a1c; --front: #2559ac; --plain: #8a94a1; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #13181f; --ink: #e6eaef; --soft: #9ba7b5;
  --line: #2c3540; --wash: #1b222b; --good: #4fcf9b; --glow: #163327; --bad: #ff8f6e;  --front: #86b1ff;
  --plain: #7d8896; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 56px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0; font-weight: 600; }
h2 { font-size: 18px; margin: 44px 0 12px; font-weight: 600; }
h3 { font-size: 15px; margin: 18px 0 4px; font-weight: 600; }
p { margin: 0 0 8px; } .soft, figcaption, small { color: var(--soft); }
.over { color: var(--soft); font-size: 14px; margin-bottom: 18px; }
.head { display: flex; gap: 12px 32px; align-items: center; padding: 24px 28px; border-radius: 12px;
  background: var(--glow); }
.head.kept { background: var(--wash); }
.head .big { font-size: 60px; line-height: 1; font-weight: 700; white-space: nowrap; color: var(--good);
  font-variant-numeric: tabular-nums; }
.head.kept .big { color: var(--ink); font-size: 40px; white-space: normal; }
.head p { margin: 6px 0 0; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 12px 0 0; }
.tile { border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.tile b { display: block; font-size: 22px; font-weight: 600; line-height: 1.3; }
.tile span { display: block; font-size: 13px; color: var(--soft); }
.reasons { margin: 24px 0 0; padding: 0; list-style: none; }
.reasons li { padding: 9px 0 9px 16px; border-left: 3px solid var(--line); margin-bottom: 6px; }
.plots { display: grid; grid-template-columns: 1fr 1fr; gap: 28px; }
figure { margin: 0; } figcaption { font-size: 14px; margin-bottom: 6px; }
figcaption b { color: var(--ink); font-weight: 600; display: block; }
svg.plot { width: 100%; height: auto; display: block; overflow: visible; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--soft); }
svg .name { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .name.strong { font-weight: 600; font-size: 13px; }
svg .grid { stroke: var(--line); } svg .frame { stroke: var(--plain); fill: none; }
svg .limit { stroke: var(--bad); stroke-dasharray: 5 4; } svg .unity { stroke: var(--plain);
  stroke-dasharray: 2 4; }
svg .area { fill: var(--glow); } svg .lead { stroke: var(--plain); stroke-width: .8; }
svg .span { stroke: currentColor; stroke-width: 1.5; opacity: .55; }
svg .mark { stroke: currentColor; stroke-width: 1.8; fill: none; } svg .full { fill: currentColor; }
.chosen { color: var(--good); } .original { color: var(--ink); } .front { color: var(--front); }
.other { color: var(--plain); } .rejected { color: var(--bad); }
.key { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 12px 0 0; font-size: 14px; color:
  var(--soft); }
.key span { display: inline-flex; align-items: center; gap: 6px; }
svg.sign { width: 18px; height: 18px; flex: none; vertical-align: -4px; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; line-height: 1.35; font-variant-numeric:
  tabular-nums; overflow-wrap: normal; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; background: var(--wash); }
th, td { padding: 7px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; } td { vertical-align: top; }
th small, td small { display: block; font-weight: 400; font-size: 12px; }
th.text, td.text { text-align: left; } td.text { white-space: normal; } td.who { min-width: 160px;
  overflow-wrap: anywhere; }
tr.chosen td, tr.original td, tr.front td, tr.other td, tr.rejected td { color: var(--ink); }
tr.chosen td { background: var(--glow); } tr.chosen .who b { color: var(--good); }
td small, tr td small { color: var(--soft); }
.tag { display: inline-block; padding: 1px 8px; border-radius: 9px; font-size: 12px; white-space: nowrap;
  border: 1px solid currentColor; }
.why { margin: 0; padding: 0; list-style: none; }
.why li { padding: 6px 0; border-bottom: 1px solid var(--line); display: grid; grid-template-columns: 38%
  1fr; gap: 20px; font-size: 14px; }
.why li:last-child { border-bottom: 0; } .why li span:last-child { color: var(--soft); }
.halves { display: grid; grid-template-columns: 1fr 1fr; gap: 0 48px; }
dl { display: grid; align-content: start; grid-template-columns: 150px 1fr; gap: 6px 16px; margin: 0;
  font-size: 14px; }
dt { color: var(--soft); } dd { margin: 0; }
pre { background: var(--wash); border-radius: 8px; padding: 12px 16px; font-size: 13px; white-space:
  pre-wrap; margin: 8px 0; }
code { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
footer { margin-top: 44px; font-size: 13px; color: var(--soft); }
@media screen and (max-width: 820px) { .head.kept .big { font-size: 32px; } main { padding: 24px 16px 40px;
  } .plots, .halves { grid-template-columns: 1fr; } .tiles { grid-template-columns: 1fr 1fr; } h1 {
  font-size: 21px; } .head { flex-direction: column; align-items: flex-start; padding: 20px; } .head .big {
  font-size: 50px; } .why li { grid-template-columns: 1fr; gap: 0; } dl { grid-template-columns: 110px 1fr;
  } td.who { min-width: 150px; } }
@media print { @page { margin: 14mm; } body { font-size: 12px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; } main { max-width: none; padding: 0; } h2 { margin-top: 26px;
  break-after: avoid; } h3 { break-after: avoid; } figure, .head, .tile, tr, .why li, dl { break-inside:
  avoid; } .wide { overflow: visible; border: 0; } table { font-size: 8.5px; } th, td { padding: 3px 4px; }
  th small, td small, .tag { font-size: 8px; } .tag { padding: 0 5px; } td.who { min-width: 90px; } .tag {
  margin-bottom: 2px; } figcaption, .key, .tile span { font-size: 11px; } .key { gap: 2px 16px; } h1 {
  font-size: 21px; } h3 { font-size: 13px; } .why li, dl, .reasons li { font-size: 11px; } .head .big {
  font-size: 46px; } svg.sign { width: 11px; height: 11px; vertical-align: -2px; } }
"""
