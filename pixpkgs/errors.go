package pixpkgs

import (
	"fmt"
	"strings"

	"pix/storepath"
)

// An Error says what is wrong with a package, and where.
type Error struct {
	Package string // its name
	Field   string // of the [Spec], such as `Env "PATH"`; "" for the package as a whole
	Err     error  // the reason
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("package %q: %v", e.Package, e.Err)
	}
	return fmt.Sprintf("package %q, %s: %v", e.Package, e.Field, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// An UndeclaredError says that a plain string has the path of something that is no
// dependency. The builder would not find it there.
type UndeclaredError struct {
	Path storepath.Path // what is mentioned; "" if only a placeholder stands for it
	Text string         // the path or placeholder, as it was found
	Name string         // of the package that it belongs to; "" if that is not known
	// Output is the output that is mentioned, of a package of which others are declared;
	// else "".
	Output string
}

func (e *UndeclaredError) Error() string {
	const remedy = "use pixpkgs.Sprintf or put it into Deps"
	switch {
	case e.Output != "":
		return fmt.Sprintf("a plain string mentions %s, the output %q of package %q, of which only other outputs are declared: %s", e.Text, e.Output, e.Name, remedy)
	case e.Name == "":
		return fmt.Sprintf("a plain string mentions %s, which stands for an output of a package that is not declared: %s", e.Text, remedy)
	}
	return fmt.Sprintf("a plain string mentions %s, but package %q is not declared: %s", e.Text, e.Name, remedy)
}

// An OutputError says that a package has no output of that name.
type OutputError struct {
	Package string
	Output  string
	Has     []string
}

func (e *OutputError) Error() string {
	return fmt.Sprintf("package %q has no output %q, only %s", e.Package, e.Output, quoted(e.Has))
}

// A CycleError says that packages of a set need each other, so that none of them can be
// built first.
type CycleError struct {
	Names []string // each needs the next, and the last the first
}

func (e *CycleError) Error() string {
	if len(e.Names) == 1 {
		return fmt.Sprintf("package %q needs itself", e.Names[0])
	}
	names := e.Names
	const most = 10
	if len(names) > most {
		names = append(append([]string(nil), names[:most]...), fmt.Sprintf("(%d more)", len(e.Names)-most))
	}
	return fmt.Sprintf("packages need each other in a cycle: %s -> %s", strings.Join(names, " -> "), e.Names[0])
}

// quoted lists names in quotes.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(list, ", ")
}
