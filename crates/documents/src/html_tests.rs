//! The Markdown that HTML is converted to, well-formed and broken.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::html::to_markdown;
use wicara_fuzz::{fuzz, mutated};
use wicara_guide::markdown::plain;

#[test]
fn a_page_keeps_its_headings_text_lists_and_links() {
    let page = to_markdown(
        "<!DOCTYPE html><html><head><title>Kantor &amp; Jam</title><style>p { x: '<p>' }</style></head>\n\
             <body><nav><a href='/'>Home</a></nav><h1 id=\"jam\">Jam <em>Buka</em></h1><!-- <p>no</p> -->\n\
             <p>Senin_1 *s.d.*\n Jumat, <a href=\"peta.html?a=1&amp;b=2\">lihat peta</a>.<br>Tutup: Minggu</p>\n\
             <ul><li>Satu<li>Dua</ul><table><tr><td>A<td>B</tr></table>\n\
             <script>if (a < b) document.write('<p>no</p>')</script><pre>x\n  y</pre> 1 < 2</body>",
    );
    assert_eq!(page.title.as_deref(), Some("Kantor & Jam"));
    assert_eq!(
        page.markdown,
        "# Jam Buka {#jam}\n\nSenin_1 \\*s.d.\\* Jumat, [lihat peta](<peta.html?a=1&amp;b=2>).  \n\
             Tutup: Minggu\n\n- Satu\n- Dua\n\nA | B\n\nx  \ny\n\n1 &lt; 2"
    );
}

#[test]
fn broken_html_gives_what_text_there_is() {
    for (html, text) in [
        ("a < b", "a &lt; b"),
        ("a <p", "a"),
        ("a <p class='x", "a"),
        ("<a href=x>b", "b"),
        ("a</", "a&lt;/"),
        ("<!-- x", ""),
        ("<script>x", ""),
        ("<p =>é", "é"),
    ] {
        assert_eq!(to_markdown(html).markdown.trim(), text, "{html}");
    }
}

#[test]
fn html_is_read_as_browsers_read_it() {
    for (html, text) in [
        ("<p>a<p>b", "a\n\nb"),
        ("a</br>b</p>c", "a  \nb\n\nc"),
        ("<b/>x<p/>y", "x\n\ny"),
        ("<p title=\"a>b\" a='>' b=c>d</p>", "d"),
        ("<a href=x/y>b</a> <a href=a href=b>b</a>", "[b](<x/y>) [b](<a>)"),
        ("<!-->a<!--->b<!-- c --!>d<!-- - -- -->e", "abde"),
        ("<?php echo ?>a<!x>b</ x>c", "abc"),
        ("<script>if (a < b) '</p>' + '</scripty>'</script>a", "a"),
        ("<script><!-- <script> </script> --></script>a", "a"),
        ("<STYLE>p { x: '<p>' }</stYle >a", "a"),
        ("<script/>a</script>b<div/>c", "b\n\nc"),
        ("<title>a <b>&amp;</b></title>b", "b"),
        ("<textarea><b>a</b></textarea><xmp>&lt;<i></xmp>", "&lt;b>a&lt;/b>\n\n&amp;lt;&lt;i>"),
        ("<iframe><p>a</iframe><noframes><p>b</noframes><noscript>c</noscript>d", "d"),
    ] {
        assert_eq!(to_markdown(html).markdown, text, "{html}");
    }
}

#[test]
fn entities_show_what_they_stand_for() {
    for (html, text) in [
        (
            "a&nbspb &ampx &copy 2020 &lt;b> &#8217;&#x41;&#65 AT&T &notit; &nosuch;",
            "a\u{a0}b &x © 2020 &lt;b> ’AA AT&T ¬it; &amp;nosuch;",
        ),
        ("&amp;lt; &#0; &#x110000;", "&amp;lt; \u{fffd} \u{fffd}"),
        ("a\u{a0}b\u{3000}c\0d", "a\u{a0}b\u{3000}cd"),
        ("<p>&nbsp;</p>a&#10;<p>", "a"),
        ("<a href='a&#47;b?c&amp;d&copy=1&lt'>x</a>", "[x](<a/b?c&amp;d&amp;copy=1>)"),
    ] {
        assert_eq!(to_markdown(html).markdown, text, "{html}");
    }
    let page =
        to_markdown("<title>\n a &amp;amp; &lt;b\n</title><title>c</title>d<svg><title>e</title></svg>");
    assert_eq!((page.title.as_deref(), page.markdown.as_str()), (Some("a &amp;amp; &lt;b"), "d"));
}

#[test]
fn what_is_hidden_ends_with_its_element_or_one_around_it() {
    for (html, text) in [
        ("<div><nav><a href=/>Home</a></div>a", "a"),
        ("a<nav><nav>b</nav>c</nav>d", "a\n\nd"),
        ("<nav></div></p>a</nav>b", "b"),
        ("<div><template></div>a</template>b", "b"),
        ("<template><template></template>a</template>b", "b"),
        ("<template><nav></template>a", "a"),
        ("<svg/>a<svg><title/><script href=x /><style/><text>b</text></svg>c", "ac"),
        ("<svg><script>'</svg>'</script>a", "'a"),
        ("a<![CDATA[ b ]]>c", "ac"),
        ("<div>a<footer>b</footer><aside>c</aside>d</div>", "a\n\nd"),
        ("a<p hidden>b<p>c", "a\n\nc"),
        ("a<div aria-hidden=true>b<div>c</div>d</div>e", "a\n\ne"),
        ("a <b style='color: red; DISPLAY : none'>b</b>c<img hidden>d", "a cd"),
    ] {
        assert_eq!(to_markdown(html).markdown, text, "{html}");
    }
}

#[test]
fn what_is_not_ended_does_not_hide_the_rest_of_the_page() {
    for (html, text) in [
        ("<nav>a", "a"),
        ("<nav><a href=/>Home</a><h1>A</h1><p>b", "[Home](</>)\n\n# A\n\nb"),
        ("<body><nav><ul><li>Home</ul><h1>A</h1></body>", "- Home\n\n# A"),
        ("<div><aside><h1>A</h1><p>b</div>c", "# A\n\nb\n\nc"),
        ("<nav><nav><p>a", "a"),
        ("<p hidden>a<h1>b", "# b"),
        ("<div hidden>a<p>b", "a\n\nb"),
        ("<p>Buka 08.00 <svg width=\"1\"/> sampai 15.00.</p>", "Buka 08.00 sampai 15.00."),
        ("<p>Buka 08.00 <svg><path d=1> sampai 15.00.</p><p>a", "Buka 08.00 sampai 15.00.\n\na"),
        ("<script>a", ""),
    ] {
        assert_eq!(to_markdown(html).markdown, text, "{html}");
    }
}

#[test]
fn a_table_keeps_its_head() {
    for (html, text) in [
        (
            "<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>2|3</td></tr></tbody></table>c",
            "| A | B |\n| --- | --- |\n| 1 | 2\\|3 |\n\nc",
        ),
        ("<table><tr><th>A<th>B<tr><td><a href=x>1</a><td>2", "| A | B |\n| --- | --- |\n| [1](<x>) | 2 |"),
        ("<table><tr><td>1<td>2<tr><td>3<td>4</table>", "|  |  |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"),
        ("<table><tr><td>a<tr><td>b</table>", "a\nb"),
        ("<table><tr><td>a<td>b<tr><td><ul><li>c</ul><td>d</table>", "a | b\n\n- c | d"),
    ] {
        assert_eq!(to_markdown(html).markdown, text, "{html}");
    }
}

#[test]
fn headings_items_cells_and_links_stay_whole() {
    for (html, text) in [
        ("<h1 id=k><div>A</div></h1>b", "# A {#k}\n\nb"),
        ("<h2 id=k>A<br>B</h2>c", "## A B {#k}\n\nc"),
        ("<h1>A<p>b", "# A\n\nb"),
        ("<h1>A<h2>B</h1>c", "# A\n\n## B\n\nc"),
        ("a<h2 id=k><img src=x></h2><p>b", "a\n\nb"),
        ("<ul><li>a<li><h2></h2><li>b</ul>", "- a\n- b"),
        ("<ul><li><li>a<li></ul><p>b", "- a\n\nb"),
        (
            "<table><tr><td><p>a</p></td><td><p>b</p></td></tr><tr><td>c<td>d<br>e<td>f</table>",
            "|  |  |  |\n| --- | --- | --- |\n| a | b |  |\n| c | d e | f |",
        ),
        ("<table><tr><td>a<table><tr><td>b<td>c</table><td>d</table>e", "a\n\nb | c\n\nd\n\ne"),
        ("<table><tr><td>a<p>b</p><td>c</table>", "a\n\nb\n\nc"),
        ("<a href=y><h3 id=k>A</h3>b</a>c", "### [A](<y>) {#k}\n\nbc"),
        ("a<a href=y><div>b</div></a>c", "a\n\n[b](<y>)\n\nc"),
        ("a<br><a href=y><p>é</p></a>", "a\n\n[é](<y>)"),
        ("a<br><a href=y><p></a>", "a"),
        ("a<br><a href=y><p>b</a>", "a\n\n[b](<y>)"),
        ("<ul><a href=y><li>a</a></ul><a href=z>b</a>", "- [a](<y>)\n\n[b](<z>)"),
    ] {
        assert_eq!(to_markdown(html).markdown, text, "{html}");
    }
}

#[test]
fn text_is_not_taken_for_markdown() {
    for text in ["> a", "---", "- a", "+ a", "===", "~~~ a", "# a", "a *b* _c_ [d](e) `f` \\ &amp; <g>"] {
        let html = text.replace('&', "&amp;").replace('<', "&lt;");
        for (html, text) in [
            (format!("<p>{html}</p>"), text.to_owned()),
            (format!("<p>x<br>{html}"), format!("x {text}")),
            (format!("<ul><li>{html}</ul>"), text.to_owned()),
        ] {
            let markdown = to_markdown(&html).markdown;
            assert_eq!(plain(&markdown), text, "{html} {markdown}");
        }
    }
}

/// What stands on real pages beside their text. Each leaves the rest of a page readable.
const ODDITIES: &[&str] = &[
    "<nav><a href=/>SECRET</a></nav>",
    "<nav><ul><li><a href=/>Menu</a></ul>",
    "<div><nav>Menu</div>",
    "<svg width=\"1\"/>",
    "<svg><path d=1><text>SECRET</text></svg>",
    "<svg><path d=1>",
    "<footer><p>SECRET</p></footer>",
    "<footer>Menu",
    "<aside>SECRET</aside>",
    "<div hidden>SECRET<div>SECRET</div></div>",
    "<p hidden>SECRET",
    "<span aria-hidden=true>SECRET</span>",
    "<div style=\"display: none\">SECRET</div>",
    "<template><p>SECRET</template>",
    "<template>",
    "<!-- SECRET -->",
    "<script>if (a < b) 'SECRET'</script>",
    "<style>p { x: SECRET }</style>",
    "<noscript>SECRET</noscript>",
    "<iframe src=x></iframe>",
    "<img hidden alt=SECRET>",
    "<table><tr><td>a<td>b",
    "<table><tr><th>a<th>b<tr><td>c<td>d</table>",
    "<ul><li>",
    "<a href=y>",
    "<b><i>",
    "<pre>",
    "<h3></h3>",
    "</div></p></nav></body>",
    "&nbsp;&shy;&nosuch;",
    "\u{feff}\u{200b}",
];

#[test]
fn a_good_page_survives_each_oddity() {
    let blocks: Vec<_> =
        (0..4).map(|n| format!("<h2>Judul {n}</h2><p>Isi {n} halaman.</p><p>Akhir {n}.</p>")).collect();
    let survives = |page: &str| {
        let text = plain(&to_markdown(page).markdown);
        let mut rest = text.as_str();
        for n in 0..4 {
            for part in [format!("Judul {n}"), format!("Isi {n} halaman."), format!("Akhir {n}.")] {
                let Some((_, after)) = rest.split_once(&part) else {
                    panic!("{part} is lost: {page}\n{text}")
                };
                rest = after;
            }
        }
        assert!(!text.contains("SECRET"), "{page}\n{text}");
    };
    for oddity in ODDITIES {
        for at in 0..=blocks.len() {
            survives(&format!("<body>{}{oddity}{}</body>", blocks[..at].concat(), blocks[at..].concat()));
        }
    }
    // Several on one page. The end tag of one could end another, with what is between as its content.
    let endless: Vec<&str> = ODDITIES.iter().copied().filter(|oddity| !oddity.contains("</")).collect();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) };
    proptest!(config, |(odd in vec((select(endless), 0..5_usize), 0..6))| {
        let mut page = String::from("<body>");
        for at in 0..=blocks.len() {
            page.extend(odd.iter().filter(|(_, place)| *place == at).map(|(oddity, _)| *oddity));
            page.push_str(blocks.get(at).map_or("", String::as_str));
        }
        let text = plain(&to_markdown(&page).markdown);
        for n in 0..4 {
            prop_assert!(text.contains(&format!("Isi {n} halaman.")), "{page}\n{text}");
        }
    });
}

/// None of these may overflow the stack or panic.
#[test]
fn a_page_may_be_nested_and_broken_as_deep_as_it_is_long() {
    for fragment in [
        "<div>",
        "<div><p>",
        "</div>",
        "<div></p>",
        "<nav>",
        "<template>",
        "<svg>",
        "<table><tr><td>",
        "<ul><li>",
        "<a href=x>",
        "<a href=x>a",
        "<b><i>",
        "<h1>",
        "<h1>a",
        "<td>a",
        "<td>",
        "<p>a",
        "<pre>\n",
        "<br>",
        "<!--",
        "<!-- -->",
        "<script>",
        "<title>",
        "<a ",
        "<a a=\"",
        "&",
        "&amp",
        "&#",
        "<",
        "</",
        "<![CDATA[",
        "a ",
        "\0",
        "<select><option>",
    ] {
        let _ = to_markdown(&fragment.repeat(40_000 / fragment.len()));
    }
    let attributes: String = (0..5_000).map(|number| format!(" a{number}=x")).collect();
    assert_eq!(to_markdown(&format!("<p{attributes} a1=y>b")).markdown, "b");
    let nested = "<div>".repeat(100_000) + "a" + &"</div>".repeat(100_000) + "b";
    assert_eq!(to_markdown(&nested).markdown, "a\n\nb");
}

#[test]
fn fuzz_of_any_page_only_links_have_angle_brackets() {
    const FRAGMENTS: &[&str] = &[
        "<h1 id=k>",
        "</h1>",
        "<h2>",
        "<p>",
        "</p>",
        "<br>",
        "<a href=x>",
        "<a href='<&lt;'>",
        "</a>",
        "<ul>",
        "<li>",
        "</ul>",
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<pre>",
        "</pre>",
        "<nav>",
        "</nav>",
        "<div>",
        "</div>",
        "<svg>",
        "</svg>",
        "<template>",
        "</template>",
        "<title>",
        "</title>",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "&lt;",
        "&nbsp;",
        " ",
        "\n",
    ];
    let fragment =
        prop_oneof![4 => select(FRAGMENTS).prop_map(str::to_owned), 1 => "[ -~\\n]{0,4}", 1 => ".{0,2}"];
    let page = vec(fragment, 0..40).prop_map(|fragments| fragments.concat());
    fuzz("html", mutated(page), |bytes| {
        let page = to_markdown(&String::from_utf8_lossy(&bytes));
        assert!(!page.markdown.replace("](<", "").contains('<'), "{}", page.markdown);
        assert!(!page.title.unwrap_or_default().contains('<'));
    });
}
