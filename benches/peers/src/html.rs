//! The results as one page that needs nothing else: bars of each figure for each work.

use crate::results::{Column, Results, COLUMNS};
use crate::table::number;
use crate::work::Work;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;\
padding:0 1rem;color:#222;background:#fff}h2{margin-top:2.5rem}table{border-collapse:collapse}\
td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}.ahead{color:#0a6b2d}.behind{color:#a32020}\
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-weight:600}\
svg text{font:12px system-ui,sans-serif}";
/// Pixels of a bar with its gap, of the names, and of the longest bar.
const BAR: usize = 20;
const NAMES: usize = 80;
const LONGEST: f64 = 170.0;

/// All of it.
#[must_use]
pub fn text(results: &Results) -> String {
    let mut body = format!(
        "<h1>z4 side by side with other systems</h1><p>Medians of {} rounds of {} s for each \
         work; tasks of {} bytes. Processor time is that of the measuring program (client) and \
         of all processes of the system (servers). An open loop sets its starts beforehand, \
         and its latencies count from these. \
         \"Others\" is the share of the processors that anything else had.</p>",
        results.rounds,
        results.seconds,
        crate::inside::BODY
    );
    body += &ratios(results);
    for work in &results.works {
        let plots: String = COLUMNS
            .iter()
            .map(|column| plot(results, work, column))
            .collect();
        body += &format!("<h2>{work}</h2><div class=\"plots\">{plots}</div>");
    }
    body += "<h2>The systems</h2><ul>";
    for system in &results.systems {
        let (version, setup) = (escaped(&system.version), escaped(system.setup));
        body += &format!("<li><b>{}</b>: {version}; {setup}", system.name);
        if let Some(ms) = system.synced_write() {
            body += &format!("; a synced write of one file took {ms:.3} ms before its turns");
        }
        let left_out = system
            .left_out
            .iter()
            .map(|why| ("left out of a round", why));
        let faults = system.faults.iter().map(|fault| ("fault", fault));
        for (kind, what) in left_out.chain(faults) {
            body += &format!(
                "<br><span class=\"behind\">{kind}: {}</span>",
                escaped(what)
            );
        }
        body += "</li>";
    }
    body += "</ul>";
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>z4 and its peers</title>\
         <style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
}

fn ratios(results: &Results) -> String {
    let names: String = results
        .peers()
        .map(|p| format!("<th>{}</th>", p.name))
        .collect();
    let mut table = format!("<h2>z4 / peer</h2><table><tr><th></th>{names}</tr>");
    for row in results.ratios() {
        table += &format!("<tr><td>{}</td>", row.name);
        for ratio in row.of_peers {
            let class = match ratio {
                None => "",
                Some(ratio) if (ratio > 1.0) == row.more_is_better => "ahead",
                Some(_) => "behind",
            };
            table += &format!("<td class=\"{class}\">{}</td>", number(ratio));
        }
        table += "</tr>";
    }
    table + "</table><p>Green: z4 is ahead. Red: the peer is.</p>"
}

fn plot(results: &Results, work: &Work, column: &Column) -> String {
    let values = results.systems.iter().filter_map(|system| {
        let value = system.median(work, column)?;
        Some((system.name, value))
    });
    let values: Vec<(&str, f64)> = values.collect();
    let most = values
        .iter()
        .map(|(_, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let height = BAR * values.len();
    let width = NAMES as f64 + LONGEST + 70.0;
    let mut svg = format!("<svg width=\"{width}\" height=\"{height}\" role=\"img\">");
    for (at, (name, value)) in values.iter().enumerate() {
        let (top, base) = (at * BAR, at * BAR + 14);
        let (long, color) = (
            value / most * LONGEST,
            if *name == "z4" { "#1f6feb" } else { "#9aa4af" },
        );
        svg += &format!(
            "<text x=\"0\" y=\"{base}\">{name}</text>\
             <rect x=\"{NAMES}\" y=\"{}\" width=\"{long:.1}\" height=\"14\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{base}\">{}</text>",
            top + 3,
            NAMES as f64 + long + 5.0,
            number(Some(*value))
        );
    }
    format!(
        "<figure><figcaption>{}</figcaption>{svg}</svg></figure>",
        column.name
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use crate::results::tests::results;

    #[test]
    fn bars_and_ratios_are_on_the_page_and_text_is_escaped() {
        let page = super::text(&results());
        assert!(page.contains("<td class=\"behind\">0.500</td>"));
        assert!(page.contains("a &lt;setup&gt;"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(!page.contains("http"));
    }
}
