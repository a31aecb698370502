//! The Docker command line is the oracle: `answers.jsonl` holds what `docker inspect -f` 28.2.2
//! answered to each template over `answers_document.json` (its standard output and error and its
//! exit code). The first run is over Go's types, the second over the raw document, as there.

use super::super::inspect::Inspector;
use super::super::typed::container::CONTAINER;
use super::*;

fn inspect(template: &str) -> (String, String, i64) {
    let document = serde_json::from_str(include_str!("answers_document.json")).unwrap();
    let mut inspector = match Inspector::new(template, false) {
        Ok(inspector) => inspector,
        Err(error) => return (String::new(), format!("{error}\n"), 64),
    };
    match inspector.add(&CONTAINER, document) {
        Ok(()) => (inspector.finish(), String::new(), 0),
        Err(error) => (inspector.finish(), format!("{error}\n"), 1),
    }
}

#[test]
fn answers_are_dockers_word_for_word() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("answers.jsonl").lines() {
        let (template, out, err, code): (String, String, String, i64) =
            serde_json::from_str(line).unwrap();
        count += 1;
        let ours = inspect(&template);
        if ours != (out.clone(), err.clone(), code) {
            wrong.push(format!(
                "{template}\n  docker {:?}\n  ours   {ours:?}",
                (out, err, code)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Go's `time.Duration`: text where text is wanted, nanoseconds in JSON and arithmetic.
#[test]
fn durations_print_as_go_prints_them() {
    let duration = Value::Int(90_500_000_000, DURATION);
    for (template, shown) in [
        ("{{.}}", "1m30.5s"),
        ("{{json .}}", "90500000000"),
        (
            "{{printf \"%v %s %d\" . . .}}",
            "1m30.5s 1m30.5s 90500000000",
        ),
        (
            "{{printf \"%q %8s|%#v\" . . .}}",
            "\"1m30.5s\"  1m30.5s|90500000000",
        ),
        ("{{printf \"%t\" .}}", "%!t(time.Duration=90500000000)"),
        (
            "{{.Seconds}} {{.Minutes}} {{.Milliseconds}}",
            "90.5 1.5083333333333333 90500",
        ),
        ("{{println . .String}}", "1m30.5s 1m30.5s\n"),
        ("{{if gt . 5}}more{{end}}", "more"),
    ] {
        let template = Template::parse(template).unwrap();
        let answer = template.execute(&duration, Options::default());
        assert_eq!(answer.unwrap(), shown);
    }
}

#[test]
fn a_run_is_bounded() {
    for (template, fault) in [
        (
            "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}",
            "exceeded maximum template depth",
        ),
        (
            "{{range 1000000000}}{{end}}",
            "exceeded maximum number of steps",
        ),
        (
            "{{range 4000000}}{{printf \"%1000000s\" $}}{{end}}",
            "output exceeds",
        ),
        ("{{pad \"x\" 100000000 1}}", "padding is limited"),
        (
            "{{$x := \"abcd\"}}{{range 60}}{{$x = print $x $x}}{{end}}",
            "result exceeds",
        ),
    ] {
        let error = Template::parse(template)
            .unwrap()
            .execute(&Value::int(1), Options::default());
        let text = error.unwrap_err().to_string();
        assert!(text.contains(fault), "{text}");
    }
    for (open, close) in [("(", ")"), ("{{if 1}}", "{{end}}")] {
        let deep = if open == "(" {
            format!("{{{{{}1{}}}}}", open.repeat(5000), close.repeat(5000))
        } else {
            format!("{}{}", open.repeat(5000), close.repeat(5000))
        };
        let text = Template::parse(&deep).unwrap_err().to_string();
        assert!(text.contains("exceeded maximum nesting depth"), "{text}");
    }
}

#[test]
fn values_cannot_steer_the_terminal() {
    let options = Options {
        escape_control: true,
        ..Options::default()
    };
    let template = Template::parse("a{{.}}b\u{1b}").unwrap();
    let shown = template.execute(&Value::string("x\u{1b}[2J\ty\n\u{9b}"), options);
    assert_eq!(shown.unwrap(), "ax\\x1b[2J\ty\n\\u009bb\u{1b}");
}

/// What random templates are made of.
const PIECES: [&str; 64] = [
    "{{",
    "}}",
    "{{-",
    "-}}",
    " ",
    "\n",
    ".",
    ".State",
    ".Config.Env",
    ".Z",
    "$",
    "$x",
    ":=",
    "=",
    "|",
    "(",
    ")",
    "if ",
    "else ",
    "end",
    "range ",
    "with ",
    "define ",
    "template ",
    "block ",
    "break",
    "continue",
    "nil",
    "true",
    "\"a\"",
    "`b`",
    "'c'",
    "'",
    "\"",
    "0",
    "-1",
    "1.5",
    "1e9",
    "0x",
    ",",
    "/*",
    "*/",
    "printf ",
    "\"%d%[3]*.*x\"",
    "\"%-+# 010.5v\"",
    "\"%q%U%c%e\"",
    "index ",
    "slice ",
    "len ",
    "eq ",
    "lt ",
    "and ",
    "or ",
    "not ",
    "json ",
    "join ",
    "split ",
    "truncate ",
    "pad ",
    "title ",
    "é",
    "\u{0}",
    "call ",
    "html ",
];

/// Random templates made of the language's own pieces: none may panic or run for ever.
#[test]
fn random_templates_never_panic() {
    let document = serde_json::from_str(include_str!("answers_document.json")).unwrap();
    let data = [
        super::super::typed::typed(&CONTAINER, &document),
        Value::from_json(&document),
    ];
    // A fixed xorshift: a failure names the template, and the next run finds it again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut rendered = 0;
    for _ in 0..30_000 {
        let length = 1 + random(14);
        let wrap = random(3) > 0;
        let mut text: String = (0..length).map(|_| PIECES[random(PIECES.len())]).collect();
        if wrap {
            text = format!("{{{{{text}}}}}");
        }
        let Ok(template) = Template::parse(&text) else {
            continue;
        };
        for value in &data {
            for missing_key in [MissingKey::NoValue, MissingKey::Error] {
                let options = Options {
                    missing_key,
                    ..Options::default()
                };
                rendered += usize::from(template.execute(value, options).is_ok());
            }
        }
    }
    assert!(
        rendered > 1000,
        "only {rendered} runs got through: the pieces test nothing"
    );
}
