//! Markdown of strangers, made into HTML that can do no harm.
//!
//! Raw HTML is shown as the text it is, links lead to the web or into this site and nowhere else
//! (no `javascript:`), and images become links, since the pages load nothing from elsewhere. The
//! writer of HTML escapes all texts; the pages' Content-Security-Policy is a second wall. So no
//! sanitiser that parses HTML is needed afterwards.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

/// Renders a README.
pub(crate) fn render(text: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let events = Parser::new_ext(text, options).map(tame);
    let mut page = String::with_capacity(text.len() * 2);
    html::push_html(&mut page, events);
    page
}

fn tame(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            ..
        }) => link(link_type, dest_url),
        Event::Start(Tag::Image {
            link_type,
            dest_url,
            ..
        }) => link(link_type, dest_url),
        Event::End(TagEnd::Image) => Event::End(TagEnd::Link),
        // The page has its own first heading.
        Event::Start(Tag::Heading { level, .. }) => Event::Start(Tag::Heading {
            level: lower(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        }),
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
        other => other,
    }
}

fn lower(level: pulldown_cmark::HeadingLevel) -> pulldown_cmark::HeadingLevel {
    let number = (level as usize + 1).min(6);
    pulldown_cmark::HeadingLevel::try_from(number).unwrap_or(level)
}

fn link<'a>(link_type: LinkType, url: CowStr<'a>) -> Event<'a> {
    let dest_url = match is_harmless(&url) {
        true => url,
        false => CowStr::Borrowed("#"),
    };
    // An address in angle brackets that is one of mail gets its scheme from the writer.
    let link_type = match link_type {
        LinkType::Email => LinkType::Email,
        _ => LinkType::Inline,
    };
    Event::Start(Tag::Link {
        link_type,
        dest_url,
        title: CowStr::Borrowed(""),
        id: CowStr::Borrowed(""),
    })
}

/// `http`, `https`, `mailto`, and what has no scheme at all.
fn is_harmless(url: &str) -> bool {
    // Browsers skip these in front of and within a scheme.
    let plain: String = url
        .chars()
        .filter(|c| !c.is_control() && !c.is_whitespace())
        .collect();
    let scheme = plain.split(['/', '?', '#']).next().unwrap_or_default();
    match scheme.split_once(':') {
        None => !plain.starts_with("//"),
        Some((scheme, _)) => ["http", "https", "mailto"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html() {
        let page = render("# Title\n\nA **word**, `code`, [a link](https://example.org).\n\n- x\n");
        assert!(page.contains("<h2>Title</h2>"), "{page}");
        assert!(
            page.contains("<strong>word</strong>") && page.contains("<li>x</li>"),
            "{page}"
        );
        assert!(
            page.contains("<a href=\"https://example.org\">a link</a>"),
            "{page}"
        );
    }

    #[test]
    fn what_could_do_harm_is_text_or_gone() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<iframe src=\"https://evil.example\"></iframe>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](java&#10;script:alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "[x](vbscript:x)",
            "<javascript:alert(1)>",
            "![x](javascript:alert(1))",
            "![\" onload=\"alert(1)](https://example.org/\" onerror=\"x)",
            "[x](https://example.org \"\\\" onclick=\\\"alert(1)\")",
            "[x]: javascript:alert(1)\n[x]",
            "# h {onclick=alert(1)}",
            "```\" onload=x\n</code><script>\n```",
            "//evil [x](//evil.example)",
        ] {
            let page = render(hostile).to_lowercase();
            assert!(
                !page.contains("<script") && !page.contains("<img"),
                "{hostile}: {page}"
            );
            assert!(!page.contains("<iframe"), "{hostile}: {page}");
            assert!(
                !page.contains("href=\"javascript") && !page.contains("href=\"data"),
                "{page}"
            );
            assert!(
                !page.contains("href=\"vbscript") && !page.contains("href=\"//"),
                "{page}"
            );
            // No attribute but the address and a language's class ever appears within a tag.
            for tag in page
                .split('<')
                .skip(1)
                .filter_map(|rest| rest.split('>').next())
            {
                for handler in ["onload=", "onerror=", "onclick="] {
                    let outside: String = tag.split('"').step_by(2).collect();
                    assert!(!outside.contains(handler), "{hostile}: {page}");
                }
            }
        }
    }
}
