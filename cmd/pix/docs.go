package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/docs"
	"pix/view"
)

// maxDocsMatches is the number of sections that a search prints. Further ones rarely help, and --json has them.
const maxDocsMatches = 10

// docsOptions are the flags of docs.
type docsOptions struct{ search, markdown, asJSON, browser, noOpen bool }

func newDocs(a *app) *cobra.Command {
	var o docsOptions
	cmd := &cobra.Command{
		Use:   "docs [PAGE[#SECTION]]",
		Short: "Print the documentation of pix",
		Long: `Print the pages about pix, which are part of the program. Without arguments, print the table of
contents, in the order in which to read the pages. With PAGE, print the page, and with SECTION only
the section with this anchor and those below it. On a terminal, text is wrapped to its width, and
$PIX_PAGER, $PAGER or less shows what does not fit.

With --search, the arguments are words. Print the sections that have all of them, or the most of
them, the best first: a line with PAGE#SECTION, and a few words of the text. The exit code is 1 if
no section has any of the words.

With --browser, show the pages in the browser, with a search, until an interrupt. Only the browser
of this user can read them: see 'pix view'.`,
		Example:           "  pix docs building\n  pix docs garbage-collection#roots\n  pix docs --search why is a path not deleted\n  pix docs --browser garbage-collection",
		GroupID:           groupOther,
		ValidArgsFunction: completeDocs(&o),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.markdown && (o.search || o.asJSON):
				return wrongUse(cmd, errors.New("--markdown is about a page, and goes with no other flag"))
			case o.noOpen && !o.browser:
				return wrongUse(cmd, errors.New("--no-open is for --browser"))
			case o.browser && (o.markdown || o.asJSON):
				return wrongUse(cmd, errors.New("--browser goes with neither --json nor --markdown"))
			case o.search && len(args) == 0:
				return wrongUse(cmd, errors.New("there are no words to search for"))
			case o.search && o.browser:
				return a.serveDocs(cmd.Context(), view.DocsAddress("", "", strings.Join(args, " ")), o.noOpen)
			case o.search:
				return a.searchDocs(args, o)
			case len(args) > 1:
				return wrongUse(cmd, fmt.Errorf("unexpected argument '%s': pix docs takes one page, or words after --search", args[1]))
			case len(args) == 1:
				return a.printDocs(cmd, args[0], o)
			case o.markdown:
				return wrongUse(cmd, errors.New("--markdown is about a page, but there is no PAGE"))
			case o.browser:
				return a.serveDocs(cmd.Context(), view.DocsAddress("", "", ""), o.noOpen)
			}
			return a.printContents(o)
		},
	}
	cmd.Flags().BoolVar(&o.search, "search", false, "print the sections that have the words in the arguments")
	cmd.Flags().BoolVar(&o.markdown, "markdown", false, "print the page in Markdown, as it was written")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print a list of pages or sections, or an object for a page")
	cmd.Flags().BoolVar(&o.browser, "browser", false, "show the pages in the browser")
	cmd.Flags().BoolVar(&o.noOpen, "no-open", false, "with --browser, print the address of the page instead of opening it")
	return cmd
}

// completeDocs completes the names of pages, and after a page and # its sections.
func completeDocs(o *docsOptions) completer {
	return func(_ *cobra.Command, args []string, word string) (words []string, directive cobra.ShellCompDirective) {
		if o.search || len(args) > 0 {
			return nil, noFiles
		}
		name, _, hasAnchor := strings.Cut(word, "#")
		page, ok := docs.Get(name)
		if !hasAnchor || !ok {
			for _, p := range docs.Pages() {
				words = append(words, p.Name+"\t"+p.Summary)
			}
			return words, noFiles | cobra.ShellCompDirectiveKeepOrder
		}
		for _, s := range page.Sections()[1:] {
			words = append(words, name+"#"+s.Anchor+"\t"+s.Title)
		}
		return words, noFiles | cobra.ShellCompDirectiveKeepOrder
	}
}

// A docsPageJSON is a page in the output of docs --json. The list of pages has neither sections nor text.
type docsPageJSON struct {
	Name     string            `json:"name"`
	Part     string            `json:"part"`
	Title    string            `json:"title"`
	Summary  string            `json:"summary"`
	Sections []docsSectionJSON `json:"sections,omitempty"`
	Markdown string            `json:"markdown,omitempty"`
}

type docsSectionJSON struct {
	Anchor string `json:"anchor"`
	Level  int    `json:"level"`
	Title  string `json:"title"`
}

// A docsMatchJSON is a section in the output of docs --search --json.
type docsMatchJSON struct {
	Page    string `json:"page"`
	Anchor  string `json:"anchor"`
	Title   string `json:"title"`
	Excerpt string `json:"excerpt"`
}

// printContents prints the table of contents.
func (a *app) printContents(o docsOptions) error {
	var b strings.Builder
	var objects []docsPageJSON
	part, columns, indent := "", columnsOf(a.stdout), 0
	for _, p := range docs.Pages() {
		indent = max(indent, len(p.Name)+4)
	}
	for _, p := range docs.Pages() {
		objects = append(objects, docsPageJSON{Name: p.Name, Part: p.Part, Title: p.Title, Summary: p.Summary})
		if p.Part != part {
			if part != "" {
				b.WriteByte('\n')
			}
			part = p.Part
			b.WriteString(part + ":\n")
		}
		fmt.Fprintf(&b, "  %-*s%s\n", indent-2, p.Name, fill(p.Summary, indent, columns))
	}
	return a.printEither(b.String(), objects, o.asJSON)
}

// nearPage returns a hint at the section about a verb, if a name that is no page is a verb.
func nearPage(name string) string {
	verbs, _ := docs.Get("command")
	if _, ok := verbs.Section(name); !ok {
		return ""
	}
	return ", only the section 'command#" + name + "'"
}

// printDocs prints a page or a section.
func (a *app) printDocs(cmd *cobra.Command, argument string, o docsOptions) error {
	name, anchor, _ := strings.Cut(argument, "#")
	page, ok := docs.Get(strings.TrimPrefix(name, "docs/"))
	if !ok {
		return wrongUse(cmd, fmt.Errorf("there is no page '%s'%s: 'pix docs' lists the pages, and 'pix docs --search' finds words", name, nearPage(name)))
	}
	if anchor != "" {
		section, ok := page.Section(anchor)
		if !ok {
			return wrongUse(cmd, fmt.Errorf("the page '%s' has no section '%s': it has %s", page.Name, anchor, anchorsOf(page)))
		}
		page = section
	}
	switch {
	case o.browser:
		return a.serveDocs(cmd.Context(), view.DocsAddress(page.Name, anchor, ""), o.noOpen)
	case o.markdown:
		return a.print(page.Markdown)
	case o.asJSON:
		object := docsPageJSON{Name: page.Name, Part: page.Part, Title: page.Title, Summary: page.Summary, Markdown: page.Markdown}
		for _, s := range page.Sections() {
			object.Sections = append(object.Sections, docsSectionJSON{s.Anchor, s.Level, s.Title})
		}
		return a.printJSON(object)
	}
	return a.page(cmd.Context(), docs.Text(page, &docs.TextOptions{Columns: columnsOf(a.stdout), Color: a.color.on(a.stdout, a.getenv)}))
}

// anchorsOf returns the anchors of a page for a message.
func anchorsOf(page *docs.Page) string {
	var all []string
	for _, s := range page.Sections() {
		all = append(all, s.Anchor)
	}
	return strings.Join(all, ", ")
}

// searchDocs prints the sections that have the words.
func (a *app) searchDocs(words []string, o docsOptions) error {
	matches := docs.Search(strings.Join(words, " "))
	objects := make([]docsMatchJSON, len(matches))
	var b strings.Builder
	for i, m := range matches {
		objects[i] = docsMatchJSON{m.Page.Name, m.Section.Anchor, m.Section.Title, m.Excerpt}
		if i < maxDocsMatches {
			const indent = 4
			fmt.Fprintf(&b, "%s#%s\n%*s%s\n", m.Page.Name, m.Section.Anchor, indent, "", fill(m.Excerpt, indent, columnsOf(a.stdout)))
		}
	}
	if err := a.printEither(b.String(), objects, o.asJSON); err != nil {
		return err
	}
	switch {
	case len(matches) == 0:
		fmt.Fprintln(a.stderr, "no section has any of these words")
		return &silentError{exitNo}
	case len(matches) > maxDocsMatches && !o.asJSON:
		fmt.Fprintf(a.stderr, "%s more: --json prints all\n", counted(len(matches)-maxDocsMatches, "section"))
	}
	return nil
}
