//! The report: what comes from a subject can't leave its place, and the same run gives the same bytes.

use segue_conformance::attach::{Hello, Host, LocalHost};
use segue_conformance::cases;
use segue_conformance::certify::Outcome;
use segue_conformance::lab::{By, Line};
use segue_conformance::pairs::{Cell, Found};
use segue_conformance::plan::Piece;
use segue_conformance::report::{Asked, Report};
use segue_conformance::run::{self, Reason, applies};
use segue_conformance::verdict::Verdict;
use segue_proto::{Clause, Generation, Instant};

fn asked() -> Asked {
    Asked {
        adapter: None,
        peer: None,
        generations: Vec::new(),
        case: None,
        in_a: true,
        requirements: None,
        sequences: 500,
        seed: 1,
    }
}

fn file(report: &Report, name: &str) -> String {
    let found = report.files().into_iter().find(|file| file.name == name);
    found.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default()
}

/// A report in which whatever a subject can choose is `text`.
fn hostile(text: &str) -> Report {
    let generations = Generation::ALL.to_vec();
    let hello = Hello { subject: text.into(), generations, commands: vec![text.into()], ..Hello::default() };
    let mut report = Report::new(Asked { adapter: Some(text.into()), ..asked() }, &Ok(hello));
    let line = |by| Line { at: Instant::from_micros(1), by, text: text.into(), message: None };
    let lines = vec![line(By::Event), line(By::Subject)];
    let reason = Reason { expected: "an answer".into(), came: text.into(), lines };
    let cell = Cell::all()[0];
    for verdict in [Verdict::Fail, Verdict::Inconclusive, Verdict::Unsupported] {
        let (case, reason) = (cases::all()[0].name, Some(reason.clone()));
        report.take(vec![Piece::Case(run::Result { case, generation: Generation::V2, verdict, reason, replay: None })]);
    }
    report.take(vec![Piece::Pair(Found { cell, says: text.into(), fault: Some((1, reason)) })]);
    report.end(Outcome::Failed, Some(text.into()));
    report
}

#[test]
fn what_comes_from_a_subject_stays_text() {
    let hostile = |text: &str| {
        let report = hostile(text);
        (file(&report, "report.html"), file(&report, "junit.xml"), file(&report, "badge.svg"))
    };
    let tags = |page: &str| page.matches('<').count();
    let (tame, tame_xml, _) = hostile("tame");
    for text in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' autofocus onfocus='alert(1)",
        "</style><h1>gone</h1>",
        "]]></failure><testcase name='forged'/>",
        "&lt;b&gt; &#60;b&#62;",
    ] {
        let (page, xml, svg) = hostile(text);
        assert_eq!(tags(&page), tags(&tame), "{text} makes an element of the page");
        assert_eq!(page.matches('"').count(), tame.matches('"').count(), "{text} leaves its attribute");
        assert_eq!(
            tags(&xml.replace("<![CDATA[", "")),
            tags(&tame_xml.replace("<![CDATA[", "")),
            "{text} makes an element of the XML"
        );
        assert!(!svg.contains("<script") && !svg.contains("<img"), "{text}");
    }
    // What XML can't hold at all is left out.
    let (_, xml, _) = hostile("a\u{0}b\u{1b}[31mc");
    assert!(!xml.contains('\u{0}') && !xml.contains('\u{1b}'));
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_no_script() {
    let page = file(&hostile("tame"), "report.html");
    for forbidden in ["<script", "http://", "https://", "src=", "<link", "@import", "url(", "onload", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

/// The report of some cases of a mutant, run in this process.
fn of_mutant(clause: Clause, pattern: &str) -> Report {
    let mut host = LocalHost::mutant(clause);
    let hello = host.hello();
    let mut report = Report::new(Asked { case: Some(pattern.into()), ..asked() }, &hello);
    let hello = hello.unwrap_or_default();
    for case in cases::all().into_iter().filter(|case| cases::matches(pattern, case.name)) {
        if applies(&case, &hello, Generation::V2) {
            report.take(vec![Piece::Case(run::run(&mut host, &hello, &case, Generation::V2, 1))]);
        }
    }
    report.judge();
    report
}

#[test]
fn a_failure_stands_beside_the_words_of_its_clause_with_the_fields_of_its_messages() {
    let report = of_mutant(Clause::HO_WANT_1, "handoff/want/*");
    let page = file(&report, "report.html");
    let said = [
        "Not certified",
        "handoff/want/stale-parent",
        "peer → subject",
        "<th scope=\"row\">parent</th>",
        "<th scope=\"row\">signature</th>",
        "HO_STALE_PARENT",
    ];
    for said in said {
        assert!(page.contains(said), "{said}");
    }
    // Whole hashes, and nothing but them in the elements that are copied.
    let digits = |text: &&str| text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let parents = page.split("<th scope=\"row\">parent</th><td><code>").skip(1);
    let parents: Vec<_> = parents.filter_map(|rest| rest.split("</code>").next()).collect();
    assert!(!parents.is_empty() && parents.iter().all(digits), "{parents:?}");
    let again = of_mutant(Clause::HO_WANT_1, "handoff/want/*");
    for (one, two) in report.files().iter().zip(again.files()) {
        assert!(one.bytes == two.bytes, "{} differs between two runs", one.name);
    }
}

#[test]
fn what_came_to_no_verdict_has_tested_nothing() {
    let report = hostile("tame");
    let coverage = report.coverage();
    let clause = cases::all()[0].clauses[0];
    assert!(coverage.tested.contains(clause), "it failed, so it was tested");
    let mut report = Report::new(asked(), &Ok(Hello::default()));
    let (case, generation) = (cases::all()[0].name, Generation::V2);
    let result = run::Result { case, generation, verdict: Verdict::Unsupported, reason: None, replay: None };
    report.take(vec![Piece::Case(result)]);
    assert!(report.coverage().untested.contains(clause));
}

/// An element: its name, what it may hold, the attributes that it has to have, and those that it may have.
type Element = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What Jenkins' schema, junit-10.xsd of its xUnit plugin, knows of the elements that are written here.
const JUNIT: &[Element] = &[
    ("testsuites", &["testsuite"], &[], &["name", "time", "tests", "failures", "errors"]),
    ("testsuite", &["testcase"], &["name", "tests", "failures", "errors"], &["skipped", "time", "timestamp", "id"]),
    ("testcase", &["skipped", "error", "failure"], &["name"], &["classname", "time"]),
    ("failure", &[], &[], &["message", "type"]),
    ("error", &[], &[], &["message", "type"]),
    ("skipped", &[], &[], &["message", "type"]),
];

#[test]
fn junit_xml_keeps_to_the_schema_of_jenkins() {
    let xml = file(&hostile("a subject with skipped=\"9\""), "junit.xml");
    let mut open: Vec<&str> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    // Text and values hold no angle bracket, but for CDATA.
    for tag in xml.split('<').skip(1).filter(|tag| !tag.starts_with(['?', '!'])) {
        let inside = tag.split_once('>').expect("a tag that ends").0;
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let empty = inside.ends_with('/');
        let (name, rest) = inside.trim_end_matches('/').split_once(' ').unwrap_or((inside.trim_end_matches('/'), ""));
        let of = |name: &str| JUNIT.iter().find(|(of, ..)| *of == name).expect("an element that is known");
        let (_, _, required, optional) = of(name);
        let parent = open.last().map_or(name == "testsuites", |parent| of(parent).1.contains(&name));
        assert!(parent, "{name} in {open:?}");
        // Of name="value" every second piece between quotes is a name.
        let names: Vec<_> = rest.split('"').step_by(2).map(|name| name.trim().trim_end_matches('=')).collect();
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
        assert!(required.iter().all(|it| names.contains(it)), "{name} with {names:?}");
        assert!(names.iter().all(|it| required.contains(it) || optional.contains(it)), "{name} with {names:?}");
        seen.insert(name);
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty());
    assert_eq!(seen.len(), JUNIT.len(), "{seen:?}");
}
