//! The report as a page: it tells what the text tells, and no text of a trace gets out of its
//! place.

use crate::common::{header, play, totals};
use serde_json::Value as Json;
use trapline_trace::{Cut, Event, Header, HtmlError, LogLine, Mark, Summary, Totals, What};

/// The page of these events.
fn page(play: impl FnOnce(&mut dyn FnMut(&Event<'_>)), end: impl FnOnce(&mut Summary)) -> String {
    named("a.trace", &header(), play, end, None)
}

fn named(
    name: &str,
    header: &Header,
    play: impl FnOnce(&mut dyn FnMut(&Event<'_>)),
    end: impl FnOnce(&mut Summary),
    problem: Option<&str>,
) -> String {
    let mut summary = Summary::new(header).with_timeline();
    play(&mut |event| summary.add(event));
    end(&mut summary);
    let mut out = Vec::new();
    summary.write_html(&mut out, name, header, problem).unwrap();
    String::from_utf8(out).unwrap()
}

fn everything(each: &mut dyn FnMut(&Event<'_>)) {
    play(each);
}

/// What the page's script is given.
fn data(page: &str) -> Json {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

/// The elements of a page with this class: their texts, as they stand there.
fn of_class<'p>(page: &'p str, class: &str) -> Vec<&'p str> {
    let mark = format!(r#"<p class="{class}""#);
    page.split(mark.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once('>')?.1.split("</p>").next())
        .collect()
}

#[test]
fn a_page_has_the_cells_registers_functions_and_tasks_of_the_trace() {
    let page = page(everything, |summary| summary.end(&totals()));
    assert!(page.contains("52 accesses (47 reads, 5 writes) in 24.7 ms on 2 CPUs"), "{page}");
    let data = data(&page);
    let lanes = data["lanes"].as_array().unwrap();
    let polled = lanes.iter().find(|lane| lane["name"] == "CSTS").unwrap();
    assert_eq!(polled["place"], "0000:02:00.1 0+0001c");
    assert_eq!((&polled["last"], &polled["polled"]), (&"0x00000001".into(), &serde_json::json!([39, 40])));
    assert!(data["functions"].as_array().unwrap().contains(&"e1000_probe [e1000e]".into()));
    assert!(data["tasks"].as_array().unwrap().contains(&"kworker/?[31m-77".into()));
    let sum = |column: &str| {
        data["cells"][column].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).sum::<u64>()
    };
    // 52 accesses, 3 mappings, one that went, a window, a marker; 3 records were lost.
    assert_eq!(sum("count"), 52 + 3 + 1 + 1 + 1 + 3);
    assert_eq!(sum("after"), data["span"].as_u64().unwrap(), "the last cell begins at the end");
    assert_eq!(data["slot"], 0);
}

#[test]
fn the_script_knows_every_kind_of_event() {
    let schema: Json = serde_json::from_str(include_str!("../../../../docs/schemas/trace.json")).unwrap();
    let kinds = schema["properties"]["kind"]["enum"].as_array().unwrap();
    // Those that it knows by other words: reads and writes, mappings, what is missing.
    let others = ["header", "access", "unmap", "lost", "window", "not_watched", "end"];
    let script = include_str!("../../templates/model.js");
    for kind in kinds.iter().filter_map(Json::as_str).filter(|kind| !others.contains(kind)) {
        assert!(script.contains(&format!("\n  {kind}: {{ title: ")), "{kind}");
    }
}

#[test]
fn a_line_of_the_kernel_log_is_on_the_page_under_its_own_text() {
    let text = "</script><b>eth0";
    let line = LogLine { text: text.into(), cut: 0, flags: trapline_abi::Flags(0) };
    let event = Event { what: What::Log(line), ..mark("") };
    let page = page(|each| each(&event), |summary| summary.end(&Totals::default()));
    assert_eq!(
        (&data(&page)["lanes"][0]["kind"], &data(&page)["lanes"][0]["place"]),
        (&"log".into(), &text.into())
    );
    assert!(page.contains("1 line of the kernel log") && !page.contains("<b>eth0"), "{page}");
}

#[test]
fn what_is_missing_is_told_at_the_top() {
    let page = page(everything, |summary| summary.end(&totals()));
    let alarms = of_class(&page, "alarm");
    assert_eq!(alarms.len(), 2, "{alarms:?}");
    assert!(alarms[0].starts_with("THIS TRACE IS NOT COMPLETE: a ring was full."), "{alarms:?}");
    assert_eq!(of_class(&page, "missing"), ["3 dropped, 1 possibly missed"]);
    assert!(page.find("THIS TRACE IS NOT").unwrap() < page.find("<main").unwrap());

    let marked = |each: &mut dyn FnMut(&Event<'_>)| each(&mark("ready"));
    let whole = self::page(marked, |summary| summary.end(&Totals::default()));
    assert_eq!(of_class(&whole, "alarm"), [""; 0]);
    assert_eq!(of_class(&whole, "fine"), ["0 dropped, 0 possibly missed"]);
}

#[test]
fn a_cut_off_trace_says_so_at_the_top_and_so_does_another_problem() {
    let cut = Cut { events: 61, time: Some(5), offset: 99, why: "the file <ends>".into() };
    let page = page(everything, |summary| summary.cut(&cut));
    let alarms = of_class(&page, "alarm");
    assert!(
        alarms[0].starts_with("THIS TRACE IS NOT COMPLETE: the trace is cut off after 61 events"),
        "{alarms:?}"
    );
    assert!(alarms[0].contains("the file &#60;ends&#62; (near byte 99)"), "{alarms:?}");

    let problem = Some("2 of its lines make no sense");
    let page = named("a.trace", &header(), everything, |summary| summary.end(&Totals::default()), problem);
    assert!(of_class(&page, "alarm").contains(&"2 of its lines make no sense"));
}

#[test]
fn an_empty_trace_gives_a_page_that_says_so_and_needs_no_script() {
    let page = page(|_| {}, |summary| summary.end(&Totals::default()));
    assert_eq!(of_class(&page, "empty"), ["There is nothing in this trace: no event was recorded."]);
    assert!(page.contains("0 accesses (0 reads, 0 writes)"));
    assert!(!page.contains("<script") && !page.contains("<main"), "{page}");
    assert!(page.trim_end().ends_with("</html>"));
}

fn mark(text: &'static str) -> Event<'static> {
    Event { time: 5, cpu: 0, pid: 7, tgid: 7, comm: "dd", what: What::Mark(Mark { text: text.into() }) }
}

/// What would be markup if it got out: as a task, a marker, a file's name, a kernel, a command.
const EVIL: &str = "</script><script>alert(1)</script><!--<b title='x' id=\"y\">&amp;\u{2028}";

#[test]
fn no_text_of_a_trace_is_markup() {
    let header = Header { kernel: EVIL.into(), command: EVIL.into(), trapline: EVIL.into(), ..header() };
    let play = |each: &mut dyn FnMut(&Event<'_>)| {
        each(&Event { comm: "</script>", ..mark(EVIL) });
        everything(&mut |event| {
            let mut event = event.clone();
            event.comm = EVIL;
            if let What::Access(access) = &mut event.what
                && let (Some(place), Some(site)) = (&mut access.place, &mut access.site)
            {
                (place.device, place.register) = (EVIL, Some(EVIL));
                (site.function, site.module) = (EVIL, Some(EVIL));
            }
            each(&event);
        });
    };
    let page = named(EVIL, &header, play, |summary| summary.end(&Totals::default()), Some(EVIL));
    let plain = named("a", &self::header(), everything, |summary| summary.end(&Totals::default()), Some(""));
    let tags = |page: &str| page.matches('<').count();
    let (_, data_of_page) = page.split_once(r#"id="data">"#).unwrap();
    let (json, script) = data_of_page.split_once("</script>").unwrap();
    assert!(!json.contains(['<', '>', '\'']), "{json}");
    assert_eq!(page.matches("<script").count(), plain.matches("<script").count());
    assert_eq!(page.matches("</script").count(), 2);
    assert_eq!(tags(&page), tags(&plain), "a text became markup");
    assert!(!page.contains("alert(1)</"), "{page}");
    // Nor is a text changed: the script gets it as it was.
    let data = data(&page);
    assert_eq!(data["tasks"][0], "</script>-7");
    assert_eq!(data["lanes"][0]["place"], EVIL);
    assert!(script.contains("JSON.parse"));
}

#[test]
fn a_page_forbids_itself_the_network() {
    let page = page(everything, |summary| summary.end(&totals()));
    assert!(page.contains(r#"content="default-src 'none'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'""#));
    let outside = ["http://", "https://", "src=\"", "@import", "url(", "fetch(", "XMLHttp", "innerHTML"];
    for word in outside {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn a_summary_that_kept_no_timeline_gives_no_page() {
    let mut summary = Summary::new(&header());
    play(|event| summary.add(event));
    let error = summary.write_html(&mut Vec::new(), "a", &header(), None).unwrap_err();
    assert!(matches!(error, HtmlError::NoTimeline), "{error}");
}

#[test]
fn a_name_of_any_length_takes_little_room() {
    let long: &str = "é".repeat(5_000).leak();
    let marked = |each: &mut dyn FnMut(&Event<'_>)| each(&mark(long));
    let page = page(marked, |summary| summary.end(&Totals::default()));
    let lanes = data(&page)["lanes"].clone();
    let cut = format!("{}…", "é".repeat(120));
    assert!(lanes[0]["place"] == cut.as_str() || lanes[0]["name"] == cut.as_str(), "{lanes}");
}
