package pixpkgs

import (
	"fmt"
	"strings"

	"pix/storepath"
)

// An Error reports why a package is not valid, and in which field.
type Error struct {
	Package string // name of the package
	Field   string // field of the [Spec], such as `Env "PATH"`; "" for the whole package
	Err     error  // the reason
}

func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("package %q: %v", e.Package, e.Err)
	}
	return fmt.Sprintf("package %q, %s: %v", e.Package, e.Field, e.Err)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// An UndeclaredError reports that a plain string contains the path of something that is not a
// dependency. The builder would not find it.
type UndeclaredError struct {
	Path storepath.Path // the path; "" if the text contains only a placeholder
	Text string         // the path or placeholder in the text
	Name string         // name of the package that has the path; "" if it is unknown
	// Output is the output with the path, if other outputs of its package are declared.
	// Otherwise it is "".
	Output string
}

func (e *UndeclaredError) Error() string {
	const remedy = "use pixpkgs.Sprintf or add it to Deps"
	switch {
	case e.Output != "":
		return fmt.Sprintf("a plain string contains %s, the output %q of package %q, of which only other outputs are declared: %s", e.Text, e.Output, e.Name, remedy)
	case e.Name == "":
		return fmt.Sprintf("a plain string contains %s, the placeholder of an output of a package that is not declared: %s", e.Text, remedy)
	}
	return fmt.Sprintf("a plain string contains %s, but package %q is not declared: %s", e.Text, e.Name, remedy)
}

// An OutputError reports that a package does not have an output.
type OutputError struct {
	Package string
	Output  string
	Has     []string // the outputs of the package
}

func (e *OutputError) Error() string {
	return fmt.Sprintf("package %q has no output %q, only %s", e.Package, e.Output, quoted(e.Has))
}

// A CycleError reports that packages of a set need each other, so none of them can be built first.
type CycleError struct {
	Names []string // each needs the next one, and the last one needs the first
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

// quoted returns the names in quotes, separated by commas.
func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(list, ", ")
}
