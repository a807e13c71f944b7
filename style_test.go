package pix_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// phrases are the phrases that usually stand for a name: of the person or program that acts, or of a thing. They
// have honest uses, so a few of them are allowed.
var phrases = regexp.MustCompile(`(?i)\b(whoever|whomever|nobody|somebody|that of|those of|what is|what was|who is|who has|is to be|to be had|` +
	`all that|of which|anew|but for|is told|are told|is said|as far as|seldom|one too many|all the same)\b`)

// allowedPhrases returns the number of phrases that a package or a page may have: one, or 4 in 1,000 lines.
func allowedPhrases(lines int) int { return max(1, lines*4/1000) }

// A prose is the text of a package or a page: its blocks of comment or paragraphs, and their lines.
type prose struct {
	blocks []string
	lines  int
}

// add adds a block of text.
func (p *prose) add(text string, lines int) {
	p.blocks = append(p.blocks, strings.Join(strings.Fields(text), " "))
	p.lines += lines
}

// found returns the phrases in the text, with a few words around each.
func (p *prose) found() (list []string) {
	for _, block := range p.blocks {
		for _, at := range phrases.FindAllStringIndex(block, -1) {
			list = append(list, "…"+block[max(0, at[0]-40):min(len(block), at[1]+40)]+"…")
		}
	}
	return list
}

// Comments and pages name the actor and the thing, in the order subject, verb, object.
func TestPhrases(t *testing.T) {
	texts := make(map[string]*prose)
	addComments(t, texts)
	addPages(t, texts)
	for name, text := range texts {
		found, allowed := text.found(), allowedPhrases(text.lines)
		if len(found) > allowed {
			t.Errorf("%s has %d phrases in %d lines, and may have %d:\n%s", name, len(found), text.lines, allowed, strings.Join(found, "\n"))
		}
	}
}

// addComments adds the comments of each package, under the name of its directory. Tests belong to the package.
func addComments(t *testing.T, texts map[string]*prose) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != "." && (name[0] == '.' || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		addSource(textOf(texts, filepath.ToSlash(filepath.Dir(path))), source)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// textOf returns the prose with a name, and adds it if there is none.
func textOf(texts map[string]*prose, name string) *prose {
	if texts[name] == nil {
		texts[name] = new(prose)
	}
	return texts[name]
}

// addSource adds the comments of a Go file. Comments on consecutive lines are one block.
func addSource(text *prose, source []byte) {
	file := token.NewFileSet().AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, scanner.ScanComments)
	block, lines, next := "", 0, 0
	for {
		pos, tok, literal := s.Scan()
		if tok == token.COMMENT && file.Line(pos) == next || tok != token.EOF && tok != token.COMMENT {
			if tok != token.COMMENT {
				continue
			}
		} else if lines > 0 {
			text.add(block, lines)
			block, lines = "", 0
		}
		if tok == token.EOF {
			return
		}
		n := 1 + strings.Count(literal, "\n")
		block += " " + strings.NewReplacer("//", " ", "/*", " ", "*/", " ").Replace(literal)
		lines, next = lines+n, file.Line(pos)+n
	}
}

// addPages adds README.md, CHANGELOG.md, the help of the command, which is in docs/command.md, and the other pages under
// docs as one text.
func addPages(t *testing.T, texts map[string]*prose) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	alone := []string{"README.md", "CHANGELOG.md", "docs/command.md"}
	for _, page := range slices.Concat(pages, alone[:2]) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(page)
		if !slices.Contains(alone, name) {
			name = "docs/*.md"
		}
		addPage(textOf(texts, name), string(b))
	}
}

// addPage adds the text of a page in Markdown, except its fenced blocks. An empty line ends a paragraph.
func addPage(text *prose, page string) {
	paragraph, lines, fenced := "", 0, false
	for line := range strings.Lines(page + "\n\n") {
		line = strings.TrimSpace(line)
		fence := strings.HasPrefix(line, "```")
		if fence {
			fenced = !fenced
		}
		if fence || line == "" {
			if lines > 0 {
				text.add(paragraph, lines)
			}
			paragraph, lines = "", 0
		} else if !fenced {
			paragraph, lines = paragraph+" "+line, lines+1
		}
	}
}

// The counter finds phrases that a line break divides, and no phrases in code.
func TestPhraseCounter(t *testing.T) {
	var source, page prose
	addSource(&source, []byte("package x\n\n// A is told\n// by nobody, all\n// that it is.\nvar whoever = \"what is\" // anew\n\n/* to be\nhad */\n"))
	if n := len(source.found()); n != 5 || source.lines != 6 {
		t.Errorf("source: %d phrases in %d lines", n, source.lines)
	}
	addPage(&page, "# Seldom\n\nIt is\ntold to be somebody\n\n```sh\nwhoever\n```\nall\n\nthat\n")
	if n := len(page.found()); n != 3 || page.lines != 5 {
		t.Errorf("page: %d phrases in %d lines", n, page.lines)
	}
}
