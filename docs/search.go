package docs

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
)

// A Match is a section that a search has found.
type Match struct {
	Page    *Page
	Section Section
	Excerpt string // a few words around the first match, in one line
}

// The points of a section for a word of the query in each place.
const (
	weightTitle   = 8 // of the page
	weightHeading = 6
	weightText    = 3
	weightPhrase  = 4 // all words of the query in sequence

	weightBackground = 0.7 // the factor of all points of pages about pix itself
)

// excerptLength is the number of runes to which an excerpt is cut, between words.
const excerptLength = 160

// Search returns the sections that contain all words of the query, or if there are none, the sections that contain the
// most of them; the best ones first. A word stands for all words that begin with it, and a word with a final s also for
// the same without it. A word in the title of the page counts most, then one in the heading, then one in the text, where
// more occurrences in a shorter text count more. Words such as "how" and "the" are ignored, unless the query has no others.
// Search returns nothing if no section has any of the words.
func Search(query string) []Match {
	words := queryWords(query)
	var found []scoredSection
	most := 1
	for _, s := range index() {
		s.score(words)
		if s.words > most {
			most, found = s.words, nil
		}
		if s.words == most {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b scoredSection) int { return cmp.Compare(b.points, a.points) })
	result := make([]Match, len(found))
	for i, f := range found {
		result[i] = Match{new(*f.page), f.section, excerpt(f.section, words)}
	}
	return result
}

// A scoredSection is a section with its words, and the result of a search.
type scoredSection struct {
	page                 *Page
	section              Section
	title, heading, text []string

	words  int // how many words of the query it has
	points float64
}

// index returns all sections of all pages.
var index = sync.OnceValue(func() (all []scoredSection) {
	for _, p := range load() {
		title := wordsOf(p.Title + " " + p.Name)
		for _, s := range p.Sections() {
			all = append(all, scoredSection{page: p, section: s, title: title, heading: wordsOf(s.Title), text: wordsOf(s.Markdown)})
		}
	}
	return all
})

// score counts the words of a query in a section. A section without any of them in its heading and text gets no points for
// the title of its page.
func (s *scoredSection) score(query []string) {
	inTitle, inHeading, inText := 0, 0, 0
	for _, q := range query {
		isMatch := func(w string) bool { return matches(w, q) }
		n := 0
		for _, w := range s.text {
			if isMatch(w) {
				n++
			}
		}
		titled := slices.ContainsFunc(s.title, isMatch)
		if titled {
			inTitle++
		}
		if n > 0 {
			inText++
		}
		if n > 0 || titled {
			s.words++
		}
		if slices.ContainsFunc(s.heading, isMatch) {
			inHeading++
		}
		s.points += weightText * float64(n) / (float64(n) + 1 + float64(len(s.text))/100)
	}
	if inText == 0 {
		s.words = 0
		return
	}
	s.points += weightTitle * float64(inTitle) / float64(len(s.title))
	s.points += weightHeading * float64(inHeading) / float64(max(len(s.heading), len(query)))
	if len(query) > 1 && hasSequence(s.text, query) {
		s.points += weightPhrase
	}
	if s.page.Part == background {
		s.points *= weightBackground
	}
}

// wordsOf returns the words of a text in lower case: its letters and digits, with hyphens and underscores between them.
func wordsOf(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for i := range words {
		words[i] = strings.Trim(words[i], "-_")
	}
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}

// stopWords are words that say nothing about the topic of a question. "why" is none: it is a part of names such as --why-rebuilt.
var stopWords = wordsOf(`a about an and any are as at be been being by can cannot could did do does doing done find for from get
	had has have how i if in into is it its me my no not of on or our out please should so some tell than that the their them then
	there these they this those to us was we were what when where which while who whose will with would you your`)

// queryWords returns the words of a query without stop words. If it has only such words, queryWords returns all of them.
func queryWords(query string) []string {
	all := wordsOf(query)
	topical := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return slices.Contains(stopWords, w) })
	if len(topical) == 0 {
		return all
	}
	return topical
}

// matches reports whether a word of a text matches a word of the query.
func matches(word, query string) bool {
	if len(query) > 3 {
		query = strings.TrimSuffix(query, "s")
	}
	if strings.HasPrefix(word, query) {
		return true
	}
	for i := range len(word) { // a part after a hyphen
		if (word[i] == '-' || word[i] == '_') && strings.HasPrefix(word[i+1:], query) {
			return true
		}
	}
	return false
}

// hasSequence reports whether the words of the query occur one after the other.
func hasSequence(text, query []string) bool {
	for i := range len(text) - len(query) + 1 {
		if slices.EqualFunc(text[i:i+len(query)], query, matches) {
			return true
		}
	}
	return false
}

// excerpt returns the words of a section around the place with the most words of the query. Sentences explain more than
// code, so a line of code is chosen only if no sentence has a word of the query.
func excerpt(s Section, query []string) string {
	sentences, code := linesOf(strings.TrimPrefix(s.Markdown, headingLine(s)))
	best, n := bestLine(sentences, query)
	if line, inCode := bestLine(code, query); n == 0 && inCode > 0 || best == "" {
		best = line
	}
	return around(best, query)
}

// bestLine returns the line with the most words of the query, and their number. It is the first line if no line has one.
func bestLine(lines, query []string) (best string, most int) {
	for i, line := range lines {
		words, n := wordsOf(line), 0
		for _, q := range query {
			if slices.ContainsFunc(words, func(w string) bool { return matches(w, q) }) {
				n++
			}
		}
		if i == 0 || n > most {
			best, most = line, n
		}
	}
	return best, most
}

// linesOf returns the paragraphs and rows of tables in a Markdown text as lines without markup, and the lines of its code.
func linesOf(markdown string) (sentences, code []string) {
	source := []byte(markdown)
	add := func(to *[]string, line string) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			*to = append(*to, line)
		}
	}
	ast.Walk(parse(source), func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the function returns no error
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Paragraph, *ast.TextBlock:
			add(&sentences, plain(n, source))
		case *extast.TableHeader, *extast.TableRow:
			var cells []string
			for cell := n.FirstChild(); cell != nil; cell = cell.NextSibling() {
				cells = append(cells, plain(cell, source))
			}
			add(&sentences, strings.Join(cells, " "))
		case *ast.FencedCodeBlock, *ast.CodeBlock:
			for i := range n.Lines().Len() {
				line := n.Lines().At(i)
				add(&code, string(line.Value(source)))
			}
		default:
			return ast.WalkContinue, nil
		}
		return ast.WalkSkipChildren, nil
	})
	return sentences, code
}

// headingLine returns the first line of a section.
func headingLine(s Section) string {
	line, _, _ := strings.Cut(s.Markdown, "\n")
	return line
}

// around returns a part of a line that begins a few words before the first match.
func around(line string, query []string) string {
	fields := strings.Fields(line)
	first := slices.IndexFunc(fields, func(f string) bool {
		return slices.ContainsFunc(wordsOf(f), func(w string) bool {
			return slices.ContainsFunc(query, func(q string) bool { return matches(w, q) })
		})
	})
	begin := max(0, first-8)
	if len([]rune(line)) <= excerptLength {
		begin = 0
	}
	var b strings.Builder
	if begin > 0 {
		b.WriteString("… ")
	}
	n := 0
	for i, f := range fields[begin:] {
		if n += len([]rune(f)) + 1; n > excerptLength && i > 0 {
			b.WriteString(" …")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f)
	}
	return b.String()
}
