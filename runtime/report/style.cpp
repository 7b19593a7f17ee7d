#include "runtime/report/style.h"

namespace annulus {

const char* report_style() {
  return R"css(
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2330; --soft: #5d6778; --edge: #dfe3ea; --card: #f6f7f9;
  --s1: #2563c9; --s2: #c2571a; --s3: #2b8a57; --faint: #a9b4c6; --wait: #e5322d; --pack: #e9b93c; --layer: #8e9aad;
  --loss: #63708a; --exchange: #c58bd0; --update: #7a5c49; --rest: #cfd6e0; --empty: #f0f2f5; --light: 50%; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161d; --ink: #e4e8ef; --soft: #98a3b5; --edge: #2b3340;
  --card: #1a2029; --s1: #6aa5ff; --s2: #f0935a; --s3: #5fce90; --faint: #4c5a70; --wait: #ff5a4f; --pack: #e0b040;
  --layer: #647086; --loss: #8c99b0; --exchange: #b77cc4; --update: #a5826b; --rest: #343d4b; --empty: #1a2029;
  --light: 58%; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 1240px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; }
h2 { margin: 2.2rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--edge); font-size: 1.2rem; }
h3 { margin: 1.2rem 0 .2rem; font-size: 1rem; }
p { margin: .4rem 0; max-width: 75ch; }
.lead, .legend, figcaption, .none, footer { color: var(--soft); }
.note { padding: .5rem .8rem; border-left: 4px solid var(--wait); background: var(--card); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: .6rem; margin: 1rem 0; }
.card { padding: .6rem .8rem; border-radius: .5rem; background: var(--card); }
.card b { display: block; font-size: 1.2rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; line-height: 1.3; display: block; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .8rem 0; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 1rem 1.6rem; }
figure { margin: 0; min-width: 0; }
.wide { max-width: 900px; }
figcaption { font-size: .9rem; margin-bottom: .2rem; }
figcaption b { color: var(--ink); }
.key { display: inline-block; margin-left: .9rem; white-space: nowrap; }
.legend { font-size: .9rem; max-width: none; }
.legend .key { margin: 0 1rem 0 0; white-space: normal; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px; vertical-align: -.05em; }
.legend .swatch + .swatch { margin-left: -.35em; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
.scroll { overflow-x: auto; }
.scroll svg { min-width: 760px; }
text { fill: var(--soft); font-variant-numeric: tabular-nums; }
text.inside { fill: #ffffff; font-size: 12px; pointer-events: none; }
line.grid { stroke: var(--edge); }
line.axis { stroke: var(--soft); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.band { opacity: .22; stroke: none; }
.hover { fill: transparent; }
.hover:hover { fill: var(--soft); fill-opacity: .12; }
.s1 { fill: var(--s1); stroke: var(--s1); background: var(--s1); }
.s2 { fill: var(--s2); stroke: var(--s2); background: var(--s2); }
.s3 { fill: var(--s3); stroke: var(--s3); background: var(--s3); }
.faint { fill: var(--faint); stroke: var(--faint); background: var(--faint); }
.line.s1, .line.s2, .line.s3, .line.faint { fill: none; }
rect.s1, rect.s2, rect.s3, .band.s1, .band.s2, .band.s3 { stroke: none; }
.wait { fill: var(--wait); background: var(--wait); }
.pack { fill: var(--pack); background: var(--pack); }
.layer { fill: var(--layer); background: var(--layer); }
.loss { fill: var(--loss); background: var(--loss); }
.exchange { fill: var(--exchange); background: var(--exchange); }
.update { fill: var(--update); background: var(--update); }
.rest { fill: var(--rest); background: var(--rest); }
.empty { fill: var(--empty); }
pre { padding: .8rem; overflow-x: auto; border-radius: .5rem; background: var(--card); font-size: .85rem; }
footer { margin-top: 2.5rem; font-size: .85rem; }
@media (max-width: 560px) { body { padding: .8rem; } .facts { grid-template-columns: 1fr; } .facts dd { margin-bottom: .3rem; }
  .key { white-space: normal; } }
@media print { .scroll svg { min-width: 0; } }
)css";
}

}  // namespace annulus
