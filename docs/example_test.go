package docs_test

import (
	"fmt"

	"pix/docs"
)

// The best section for some words.
func ExampleSearch() {
	best := docs.Search("folding digests")[0]
	fmt.Println(best.Page.Name + "#" + best.Section.Anchor)
	// Output:
	// hashes#folding
}

// A section of a page, for a terminal.
func ExampleText() {
	section, _ := (&docs.Page{Markdown: "# Tea\n\nBoil water.\n\n## Milk\n\nAdd *milk*, see [roots](store-paths.md#hashes):\n\n```sh\npix roots\n```\n"}).Section("milk")
	fmt.Print(docs.Text(section, &docs.TextOptions{Columns: 40}))
	// Output:
	// Milk
	//
	//   Add milk, see roots
	//   (store-paths#hashes):
	//
	//     pix roots
}

// A page for a browser.
func ExampleHTML() {
	page := &docs.Page{Name: "tea", Markdown: "## Boil `water`\n\n[Roots](store-paths.md#hashes), [Go](https://go.dev).\n"}
	html, err := docs.HTML(page, &docs.HTMLOptions{
		Link:     func(page, anchor string) string { return "#docs/" + page + "/" + anchor },
		IDPrefix: "docs-",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(html)
	// Output:
	// <h2 id="docs-boil-water">Boil <code>water</code></h2>
	// <p><a href="#docs/store-paths/hashes">Roots</a>, <a href="https://go.dev" rel="noopener noreferrer">Go</a>.</p>
}
