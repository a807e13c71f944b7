// Package docs_test produces the examples of the pages in this directory: the code here prints every block of bytes
// or text in them. To renew the pages, run go test ./docs -update.
package docs_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/pages"
	"pix/nar"
	"pix/storepath"
)

var update = flag.Bool("update", false, "write the examples into the pages")

// check compares the blocks of a page with the produced texts.
func check(t *testing.T, page string, produced map[string]string) {
	t.Helper()
	pages.Check(t, page, produced, *update)
}

// source returns the source of functions and types of a test in this directory, so that a page shows code that
// was run.
func source(t *testing.T, file string, names ...string) string {
	t.Helper()
	fset := token.NewFileSet()
	text, err := os.ReadFile(file)
	checkErr(t, err)
	parsed, err := parser.ParseFile(fset, file, text, parser.ParseComments)
	checkErr(t, err)
	var found []string
	for _, name := range names {
		for _, decl := range parsed.Decls {
			declared, doc := declaration(decl)
			if declared != name {
				continue
			}
			begin := decl.Pos()
			if doc != nil {
				begin = doc.Pos()
			}
			found = append(found, string(text[fset.Position(begin).Offset:fset.Position(decl.End()).Offset]))
		}
	}
	if len(found) != len(names) {
		t.Fatalf("%s does not have all of %q", file, names)
	}
	return strings.Join(found, "\n\n")
}

// declaration returns the name of a function or a type, and its comment.
func declaration(decl ast.Decl) (name string, doc *ast.CommentGroup) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return d.Name.Name, d.Doc
	case *ast.GenDecl:
		if spec, ok := d.Specs[0].(*ast.TypeSpec); ok {
			return spec.Name.Name, d.Doc
		}
	}
	return "", nil
}

func checkErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// table aligns columns that are separated by tabs.
func table(lines ...string) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range strings.Split(line, "\t") {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		cells := strings.Split(line, "\t")
		for i, cell := range cells {
			if i < len(cells)-1 {
				cell += strings.Repeat(" ", widths[i]-len([]rune(cell))+2)
			}
			b.WriteString(cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// hexBytes formats bytes in base 16 with spaces.
func hexBytes(b []byte) string { return fmt.Sprintf("% x", b) }

// greetingDrv returns the derivation of the examples.
func greetingDrv(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../testdata/greeting.drv")
	checkErr(t, err)
	return string(b)
}

// exampleTree creates the directory of the examples: an executable file, a symlink and a text.
func exampleTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "example")
	checkErr(t, os.MkdirAll(dir, 0o777))
	checkErr(t, os.WriteFile(filepath.Join(dir, "hello"), []byte("#!/bin/sh\necho hello\n"), 0o777))
	checkErr(t, os.Chmod(filepath.Join(dir, "hello"), 0o777))
	checkErr(t, os.Symlink("hello", filepath.Join(dir, "greet")))
	return dir
}

// archive returns the archive of a file or directory.
func archive(t *testing.T, path string) []byte {
	t.Helper()
	var b bytes.Buffer
	checkErr(t, nar.Dump(context.Background(), &b, path, nil))
	return b.Bytes()
}

const storeDir = storepath.DefaultDir
