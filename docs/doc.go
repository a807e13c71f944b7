// Package docs has the pages about pix: this directory, embedded in the program. A page is a text in Markdown about one
// topic. Its blocks of code and output are produced by tests.
//
// [Pages] returns the pages in the order in which to read them, and [Get] one of them. [Search] finds sections by words.
// A page has [Page.Sections], whose anchors are the same as on GitHub. [Text] writes a page for a terminal, and [HTML] for
// a browser:
//
//	page, ok := docs.Get("building")
//	html, err := docs.HTML(page, &docs.HTMLOptions{
//		Link: func(page, anchor string) string { return "#docs/" + page + "/" + anchor },
//	})
//
// HTML is safe for hostile Markdown, too: it contains no markup of the page itself, no scripts, no images, and no links
// except to other pages, http and https.
//
// Reading order: docs.go, section.go, search.go, markdown.go, html.go, text.go, texttable.go.
package docs
