//! The picture of `docs/PERFORMANCE.md#growth`: the time of a sweep by its due grants, from the
//! measured rates, and the measured memory.

use std::fmt::Write as _;

use crate::sweep::Swept;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 380.0;
/// Left, right, top and bottom of the lines, and of the memory beside them.
const TIMES: [f64; 4] = [70.0, 440.0, 60.0, 320.0];
const MEMORY: [f64; 4] = [570.0, 790.0, 60.0, 320.0];
/// Due grants, and seconds, as powers of ten.
const DUE: [f64; 2] = [3.0, 6.0];
const SECONDS: [f64; 2] = [0.0, 6.0];
/// Maximum time of an invocation, in seconds.
const INVOCATION: f64 = 900.0;

/// Returns the place of a value between two others on an axis from `from` to `to`.
fn place(value: f64, [least, most]: [f64; 2], from: f64, to: f64) -> f64 {
    from + (value - least) / (most - least) * (to - from)
}

fn up(seconds: f64) -> f64 {
    place(seconds.log10(), SECONDS, TIMES[3], TIMES[2])
}

/// Draws the sweeps, which are in the order of their grants in flight.
pub(crate) fn picture(sweeps: &[(u64, Swept)]) -> String {
    let mut text = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title">
  <title id="title">Time of a sweep by due grants, and memory, by grants in flight</title>
  <style>
    svg {{ font: 13px system-ui, sans-serif }}
    .paper {{ fill: #ffffff; stroke: #d0d7de }}
    text {{ fill: #1f2328 }}
    .small {{ font-size: 12px; fill: #57606a }}
    .head {{ font-weight: 600 }}
    .middle {{ text-anchor: middle }}
    .end {{ text-anchor: end }}
    .axis {{ stroke: #d0d7de }}
    .limit {{ stroke: #cf222e; stroke-dasharray: 5 4 }}
    .line {{ stroke: #0969da; stroke-width: 2; fill: none }}
    .bar {{ fill: #0969da }}
    @media (prefers-color-scheme: dark) {{
      .paper {{ fill: #0d1117; stroke: #30363d }}
      text {{ fill: #e6edf3 }}
      .small {{ fill: #9da7b3 }}
      .axis {{ stroke: #30363d }}
      .limit {{ stroke: #ff7b72 }}
      .line {{ stroke: #4493f8 }}
      .bar {{ fill: #4493f8 }}
    }}
  </style>
  <rect class="paper" x=".5" y=".5" width="{:.0}" height="{:.0}" rx="8"/>
"#,
        WIDTH - 1.0,
        HEIGHT - 1.0
    );
    times(&mut text, sweeps);
    memory(&mut text, sweeps);
    text.push_str("</svg>\n");
    text
}

fn times(text: &mut String, sweeps: &[(u64, Swept)]) {
    let [left, right, top, bottom] = TIMES;
    let _ = writeln!(
        text,
        r#"  <text class="head" x="{left}" y="30">Time of a sweep, by grants in flight</text>"#
    );
    for (exponent, name) in (3..).zip(["1,000", "10,000", "100,000", "1 million due"]) {
        let x = place(f64::from(exponent), DUE, left, right);
        let _ = writeln!(text, r#"  <path class="axis" d="M{x:.0} {top}V{bottom}"/>"#);
        let _ =
            writeln!(text, r#"  <text class="small middle" x="{x:.0}" y="{}">{name}</text>"#, bottom + 20.0);
    }
    let levels = [
        ("axis", 1.0, "1 s"),
        ("axis", 60.0, "1 min"),
        ("axis", 3_600.0, "1 h"),
        ("axis", 86_400.0, "1 day"),
        ("axis", 1e6, ""),
        ("limit", INVOCATION, "15 min"),
    ];
    for (class, seconds, name) in levels {
        let y = up(seconds);
        let _ = writeln!(text, r#"  <path class="{class}" d="M{left} {y:.0}H{right}"/>"#);
        let _ = writeln!(
            text,
            r#"  <text class="small end" x="{}" y="{:.0}">{name}</text>"#,
            left - 8.0,
            y + 4.0
        );
    }
    for (at_once, swept) in sweeps {
        let [from, to] = DUE.map(|due| up(10_f64.powf(due) / swept.rate));
        let _ = writeln!(text, r#"  <path class="line" d="M{left} {from:.1}L{right} {to:.1}"/>"#);
        let _ = writeln!(
            text,
            r#"  <text x="{}" y="{:.0}">{at_once}: {:.0} a second</text>"#,
            right + 6.0,
            to + 4.0,
            swept.rate
        );
    }
}

fn memory(text: &mut String, sweeps: &[(u64, Swept)]) {
    let [left, right, top, bottom] = MEMORY;
    #[expect(clippy::cast_precision_loss, reason = "mebibytes")]
    let memory: Vec<f64> = sweeps.iter().map(|(_, swept)| swept.memory as f64 / 1024.0).collect();
    let most = memory.iter().copied().fold(1.0, f64::max);
    let _ = writeln!(text, r#"  <text class="head" x="{left}" y="30">Memory, by grants in flight</text>"#);
    let _ = writeln!(text, r#"  <path class="axis" d="M{left} {bottom}H{right}"/>"#);
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let step = (right - left) / sweeps.len().max(1) as f64;
    let mut x = left + step / 2.0;
    for ((at_once, _), memory) in sweeps.iter().zip(memory) {
        let height = memory / most * (bottom - top);
        let _ = writeln!(
            text,
            r#"  <rect class="bar" x="{:.0}" y="{:.0}" width="24" height="{height:.0}"/>"#,
            x - 12.0,
            bottom - height
        );
        let _ = writeln!(
            text,
            r#"  <text class="middle" x="{x:.0}" y="{:.0}">{memory:.0} MiB</text>"#,
            bottom - height - 6.0
        );
        let _ = writeln!(
            text,
            r#"  <text class="small middle" x="{x:.0}" y="{}">{at_once}</text>"#,
            bottom + 20.0
        );
        x += step;
    }
}
