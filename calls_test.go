package pix_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// callsSection is the heading in docs/design.md under which the walks stand, each under a heading of its own.
const callsSection = "How a call travels"

// uploadWalk is the walk that may name only so many files of server and localstore, with its internal packages. A
// reader should not have to open more of them to follow one call.
const (
	uploadWalk  = "An upload through the server"
	uploadFiles = 16
)

// A step is a line of a walk: a function, its file, and how its parent calls it. Steps that are called by a step stand
// below it with a larger indentation, in the order of the calls.
type step struct {
	indentation int
	through     string // the interface or variable through which it is called, as package.Name; or ""
	goroutine   bool   // it is called by a go statement of its package, and not by its parent
	function    string // package.Function or package.(*Type).Method
	file        string
}

// stepPattern matches
//
//   - `package.(*Type).Method` in `file`: text
//   - through `package.Name`: `package.(*Type).Method` in `file`: text
//   - on its own goroutine: `package.Function` in `file`: text
var stepPattern = regexp.MustCompile("^( *)- (?:through `([^`]+)`: |(on its own goroutine): )?`([^`]+)` in `([^`]+)`: .+")

// The walks in docs/design.md name functions that exist and call each other.
func TestHowACallTravels(t *testing.T) {
	walks := readWalks(t)
	if len(walks) != 3 || walks[uploadWalk] == nil {
		t.Fatalf("docs/design.md has %d walks; want three, one of them %q", len(walks), uploadWalk)
	}
	for name, steps := range walks {
		t.Run(name, func(t *testing.T) { checkWalk(t, steps) })
	}
	var files []string
	for _, s := range walks[uploadWalk] {
		if first, _, _ := strings.Cut(s.file, "/"); first == "server" || first == "localstore" {
			files = append(files, s.file)
		}
	}
	slices.Sort(files)
	if files = slices.Compact(files); len(files) > uploadFiles {
		t.Errorf("%q names %d files, and may name %d: %s", uploadWalk, len(files), uploadFiles, strings.Join(files, ", "))
	}
}

// readWalks returns the steps of each walk, by its heading.
func readWalks(t *testing.T) map[string][]step {
	t.Helper()
	b, err := os.ReadFile("docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	walks, inside, name := make(map[string][]step), false, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			inside, name = strings.HasSuffix(heading, callsSection), ""
		} else if heading, ok := strings.CutPrefix(line, "### "); ok {
			name = heading
		}
		if !inside || !strings.HasPrefix(strings.TrimLeft(line, " "), "- ") {
			continue
		}
		m := stepPattern.FindStringSubmatch(line)
		if m == nil || name == "" {
			t.Errorf("not a step of a walk: %s", line)
			continue
		}
		walks[name] = append(walks[name], step{len(m[1]), m[2], m[3] != "", m[4], m[5]})
	}
	return walks
}

// checkWalk checks the steps of a walk: that each function exists, and that its parent calls it, after the steps before
// it that have the same parent.
func checkWalk(t *testing.T, steps []step) {
	parents := []int{} // indexes of the steps above the current one
	calls := make(map[int]token.Pos)
	for i, s := range steps {
		if findFunc(t, s) == nil {
			t.Errorf("%s has no function %s", s.file, s.function)
			continue
		}
		for len(parents) > 0 && steps[parents[len(parents)-1]].indentation >= s.indentation {
			parents = parents[:len(parents)-1]
		}
		switch {
		case s.goroutine:
			if !hasGoStatement(t, path.Dir(s.file), shortName(s.function)) {
				t.Errorf("no go statement calls %s", s.function)
			}
		case len(parents) > 0:
			parent := parents[len(parents)-1]
			at := callOf(t, steps[parent], s, calls[parent])
			switch {
			case at != token.NoPos:
				calls[parent] = at
			case !isPassedOn(t, steps, parents, s):
				t.Errorf("%s does not call %s, after the steps above it", steps[parent].function, s.function)
			}
		case i > 0:
			t.Errorf("no step calls %s", s.function)
		}
		parents = append(parents, i)
	}
}

// shortName returns the name of a function without its package and receiver.
func shortName(function string) string { return function[strings.LastIndex(function, ".")+1:] }

// findFunc returns the declaration of a step's function in its file, or nil.
func findFunc(t *testing.T, s step) *ast.FuncDecl {
	t.Helper()
	for _, decl := range parseFile(t, s.file).Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && path.Base(path.Dir(s.file))+"."+declaredName(f) == s.function {
			return f
		}
	}
	return nil
}

// declaredName returns the name of a function as a step has it: Function, Type.Method or (*Type).Method.
func declaredName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver, pointer := f.Recv.List[0].Type, false
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver, pointer = star.X, true
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	name, ok := receiver.(*ast.Ident)
	switch {
	case !ok:
		return ""
	case pointer:
		return fmt.Sprintf("(*%s).%s", name.Name, f.Name.Name)
	}
	return name.Name + "." + f.Name.Name
}

// callOf returns where a step's function calls another one for the first time after a position, directly, by passing it
// on, or through an interface or a variable. A deferred call comes at the end. Functions are compared by their names.
func callOf(t *testing.T, from, to step, after token.Pos) token.Pos {
	t.Helper()
	body := findFunc(t, from).Body
	name := shortName(to.function)
	if to.through != "" {
		if !isIn(t, to.through, name) {
			t.Errorf("%s does not have %s", to.through, name)
		}
		if at := mention(body, name, after); at != token.NoPos {
			return at
		}
		return mention(body, shortName(to.through), after)
	}
	if strings.Count(to.function, ".") == 1 && path.Dir(from.file) != path.Dir(to.file) { // a function of another package
		return mention(body, to.function, after)
	}
	return mention(body, name, after)
}

// isPassedOn reports whether a step is called through a variable that one of the steps above it reads. The function is then
// passed on to the parent, which calls a parameter.
func isPassedOn(t *testing.T, steps []step, parents []int, s step) bool {
	return s.through != "" && slices.ContainsFunc(parents, func(i int) bool {
		return mention(findFunc(t, steps[i]).Body, shortName(s.through), 0) != token.NoPos
	})
}

// mention returns where a name, or a qualified name, is first used in a body after a position: its end for a deferred call.
func mention(body *ast.BlockStmt, name string, after token.Pos) (at token.Pos) {
	deferred := false
	ast.Inspect(body, func(n ast.Node) bool {
		if at != token.NoPos {
			return false
		}
		switch n := n.(type) {
		case *ast.DeferStmt:
			deferred = deferred || uses(n, name)
			return false
		case *ast.Ident, *ast.SelectorExpr:
			if n.Pos() >= after && isNamed(n, name) {
				at = n.Pos()
			}
		}
		return true
	})
	if at == token.NoPos && deferred {
		return body.End()
	}
	return at
}

// uses reports whether a name is used in a tree.
func uses(tree ast.Node, name string) (found bool) {
	ast.Inspect(tree, func(n ast.Node) bool {
		found = found || isNamed(n, name)
		return !found
	})
	return found
}

// isNamed reports whether a node is an identifier with a name, or a selector with a qualified name.
func isNamed(n ast.Node, name string) bool {
	switch n := n.(type) {
	case *ast.Ident:
		return n.Name == name
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		return ok && x.Name+"."+n.Sel.Name == name
	}
	return false
}

// isIn reports whether an interface, given as package.Name, has a method, or the initial value of a variable uses a function
// with that name.
func isIn(t *testing.T, qualified, name string) (found bool) {
	t.Helper()
	dir, declared, _ := strings.Cut(qualified, ".")
	for _, file := range goFiles(t, dir) {
		ast.Inspect(parseFile(t, file), func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.TypeSpec:
				if _, ok := n.Type.(*ast.InterfaceType); ok && n.Name.Name == declared {
					found = found || uses(n.Type, name)
				}
			case *ast.ValueSpec:
				if n.Names[0].Name == declared {
					for _, value := range n.Values {
						found = found || uses(value, name)
					}
				}
			}
			return true
		})
	}
	return found
}

// hasGoStatement reports whether a package starts a function on a goroutine, by go or by a method Go.
func hasGoStatement(t *testing.T, dir, name string) (found bool) {
	t.Helper()
	for _, file := range goFiles(t, dir) {
		ast.Inspect(parseFile(t, file), func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = found || uses(n.Call, name)
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Go" {
					found = found || uses(n, name)
				}
			}
			return true
		})
	}
	return found
}

// goFiles returns the files of a package without its tests.
func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the package %s has no files: %v", dir, err)
	}
	return slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
}

// parsed has the files that parseFile has read.
var parsed = make(map[string]*ast.File)

// parseFile parses a file once.
func parseFile(t *testing.T, name string) *ast.File {
	t.Helper()
	if f := parsed[name]; f != nil {
		return f
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	parsed[name] = f
	return f
}
