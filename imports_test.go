package pix_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// order has the packages in reading order: a package imports only packages before it. Some of them may not exist yet.
// Packages that are not in it (the internal ones at the root, and examples) may import all others.
var order = []string{
	"nixbase32", "nixhash", "storepath", "wire", "nar", "derivation", "signature", "activity",
	"store", "closure", "profile", "narinfo", "explain", "protocol", "daemon", "nixconf", "server", "monitor", "store/memstore", "daemontest",
	"binarycache", "binarycache/s3", "cacheserver/internal/uploads", "cacheserver", "docs", "view",
	"localstore/internal/regular", "localstore/internal/pathlock", "localstore/internal/temproots",
	"localstore/internal/filetime", "localstore/internal/objects", "localstore/internal/nixdb", "localstore",
	"substitute", "builder/sandbox", "builder/internal/canonical", "builder/internal/builtins", "builder", "realise",
	"pixpkgs", ".", "cmd/pix/internal/live", "cmd/pix", "cmd/pix-sandbox", "cmd/pix-sh",
}

// stores are the packages that builder and the packages below it must not import: builder declares the interface of
// the store that it needs.
var stores = []string{
	"closure", "profile", "protocol", "daemon", "server", "store/memstore", "daemontest",
	"binarycache", "binarycache/s3", "cacheserver", "localstore", "substitute",
}

// unsafeFiles are the only files that may import unsafe.
var unsafeFiles = []string{"builder/sandbox/raw_linux.go"}

// dependencies are the modules that packages, and the packages below them, may import besides the standard library. The
// key "" is for every package.
var dependencies = map[string][]string{
	"":                      {"golang.org/x/sys", "golang.org/x/sync", "lukechampine.com/blake3", "github.com/klauspost/compress"},
	"cmd/pix":               {"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term"},
	"cmd/pix/internal/live": {"github.com/rivo/uniseg"},

	"cmd/pix-sh": {"mvdan.cc/sh"},

	"docs": {"github.com/yuin/goldmark"},

	"binarycache/s3": {"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"},

	"localstore":                {"zombiezen.com/go/sqlite"},
	"localstore/internal/nixdb": {"zombiezen.com/go/sqlite", "modernc.org/sqlite", "modernc.org/libc"},

	"internal/compression": {"github.com/pierrec/lz4/v4", "github.com/ulikunitz/xz", "github.com/andybalholm/brotli"},
}

// sourceFiles calls visit for each Go file that is not a test, with the directory of the package.
func sourceFiles(t *testing.T, visit func(dir string, fset *token.FileSet, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name != "." && (name[0] == '.' || name == "testdata" || hasModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(filepath.Dir(path)), fset, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hasModule reports whether dir is the root of another module.
func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func TestImports(t *testing.T) {
	sourceFiles(t, func(dir string, fset *token.FileSet, f *ast.File) {
		position := slices.Index(order, dir)
		if position < 0 && !strings.HasPrefix(dir, "internal/") && !strings.HasPrefix(dir, "examples/") {
			t.Errorf("package %s is not in the reading order", dir)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if path == "unsafe" && slices.Contains(unsafeFiles, filepath.ToSlash(fset.Position(f.Pos()).Filename)) {
				continue
			}
			if reason := forbidden(dir, position, path); reason != "" {
				t.Errorf("%s imports %s: %s", fset.Position(spec.Pos()), path, reason)
			}
		}
	})
}

// forbidden returns the reason why the package in dir may not import path, or "". position is its index in order.
func forbidden(dir string, position int, path string) string {
	if path == "unsafe" || path == "C" {
		return "unsafe and cgo are not used"
	}
	if ours, ok := strings.CutPrefix(path+"/", "pix/"); ok {
		ours = strings.TrimSuffix(ours, "/")
		if ours == "" {
			ours = "."
		}
		if strings.HasPrefix(ours, "internal/") || position < 0 {
			return ""
		}
		if i := slices.Index(order, ours); i < 0 || i >= position {
			return "it does not come before this package in the reading order"
		}
		if strings.HasPrefix(dir+"/", "builder/") && slices.Contains(stores, ours) {
			return "builder knows a store only through its own interface"
		}
		return ""
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	allowed := dependencies[""]
	for d := dir; ; d = filepath.ToSlash(filepath.Dir(d)) { // a package may import the modules that its parents may import
		allowed = slices.Concat(allowed, dependencies[d])
		if d == "." {
			break
		}
	}
	for _, module := range allowed {
		if path == module || strings.HasPrefix(path, module+"/") {
			return ""
		}
	}
	return "the module is not a dependency of this package"
}

// conversions are the files that may convert to storepath.Path and storepath.Dir, with the reasons.
var conversions = map[string]string{
	"derivation/parsepath.go":    "it validates a path while it finds its end, for speed",
	"derivation/parseoutputs.go": "the path of a fixed output is checked by Validate",
	"derivation/parsed.go":       "it slices paths that the parser has validated from the text",
	"derivation/derivation.go":   "it copies a valid path",
}

// A conversion to storepath.Path does not validate, so it is allowed only in storepath, and for constants.
func TestNoConversions(t *testing.T) {
	sourceFiles(t, func(dir string, fset *token.FileSet, f *ast.File) {
		if dir == "storepath" || conversions[filepath.ToSlash(fset.Position(f.Pos()).Filename)] != "" {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			if _, constant := call.Args[0].(*ast.BasicLit); constant {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Path" && sel.Sel.Name != "Dir" {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "storepath" {
				t.Errorf("%s: a conversion to storepath.%s does not validate; parse instead", fset.Position(call.Pos()), sel.Sel.Name)
			}
			return true
		})
	})
}

// Every package that a program can import has a doc.go and a tested example. The documentation of the root is in pix.go.
func TestDocs(t *testing.T) {
	for _, dir := range order {
		if _, err := os.Stat(dir); err != nil || dir == "." || strings.HasPrefix(dir, "cmd/") || strings.Contains(dir, "/internal/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil {
			t.Error(err)
			continue
		}
		if name := filepath.Base(dir); !strings.HasPrefix(string(b), "// Package "+name+" ") {
			t.Errorf("%s/doc.go does not begin with the comment of package %s", dir, name)
		}
		if !hasExample(t, dir) {
			t.Errorf("package %s has no tested example", dir)
		}
	}
}

// hasExample reports whether the tests of the package in dir contain an example with output.
func hasExample(t *testing.T, dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(b); strings.Contains(text, "func Example") && strings.Contains(text, "// Output:") {
			return true
		}
	}
	return false
}
