package pixpkgs

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"pix/storepath"
)

// A String is a text that remembers which packages and sources it mentions. They become dependencies of
// a package that uses the text. In Nix this is the context of a string. A String does not change. The
// zero value is the empty text.
type String struct {
	text  string // used if there are no parts; most texts are plain
	parts []part
	err   error // an error in its construction, which is reported when it is used
}

// A partKind is the kind of a part of a [String].
type partKind uint8

const (
	literalPart partKind = iota // text that may contain declared paths
	rawPart                     // text that is not searched for paths
	outputPart                  // the path of an output of a package
	drvPart                     // the path of a package's .drv file
	objectPart                  // the path of an Object
	pathPart                    // a path that exists in the store
	ownPart                     // the path of an output of the package itself
)

// A part is a piece of a [String].
type part struct {
	kind     partKind
	textOnly bool     // the part is not a dependency
	choice   choice   // how to mention lazy when it is derived
	text     string   // text of literal and raw parts; a path; name of the output, "" for the default output
	nested   []string // outputs of the derivation in that output, and so on; see OutputOf
	pkg      *Package // for output and drv parts, after the package was derived
	lazy     *Lazy    // for output and drv parts, before the package was derived
	object   *Object  // for object parts
}

// String returns the text. It contains placeholders for paths that are not known yet.
func (s String) String() string {
	if s.err != nil {
		return unprintable(s.err)
	}
	switch len(s.parts) {
	case 0:
		return s.text
	case 1:
		return s.parts[0].String()
	}
	var few [1024]byte // enough for most lists of inputs
	text := few[:0]
	for i := range s.parts {
		text = append(text, s.parts[i].String()...)
	}
	return string(text)
}

func (p *part) String() string {
	if p.lazy != nil {
		return p.lazy.String()
	}
	switch p.kind {
	case literalPart, rawPart, pathPart:
		return p.text
	case outputPart:
		if len(p.nested) > 0 {
			return p.pkg.nestedText(p.text, p.nested)
		}
		return p.pkg.outputText(p.text)
	case drvPart:
		return string(p.pkg.path)
	case objectPart:
		return p.object.String()
	case ownPart:
		return string(storepath.OwnPlaceholder(p.text))
	}
	panic("pixpkgs: unknown kind of part")
}

// unprintable returns a text for a value that has none. It contains a NUL byte, which no value may
// contain. So [Derive] finds it, with the error, if package fmt has inserted it into a string.
func unprintable(err error) string { return "\x00(" + err.Error() + ")" }

// literal returns a plain text.
func literal(text string) String { return String{text: text} }

// plain returns the text. ok is false if s mentions something or has an error.
func (s *String) plain() (text string, ok bool) { return s.text, len(s.parts) == 0 && s.err == nil }

// add appends other.
func (s *String) add(other String) {
	if s.err == nil {
		s.err = other.err
	}
	s.addText(other.text)
	if len(other.parts) > 0 {
		s.toParts()
		s.parts = append(s.parts, other.parts...)
	}
}

// addText appends plain text.
func (s *String) addText(text string) {
	if text == "" {
		return
	}
	s.toParts()
	s.parts = append(s.parts, part{kind: literalPart, text: text})
}

// toParts converts a plain text to a part, so that other parts can follow.
func (s *String) toParts() {
	if s.text != "" {
		s.parts = append(s.parts, part{kind: literalPart, text: s.text})
		s.text = ""
	}
}

// Raw returns a text that is not searched for paths. Paths in it are not dependencies. In Nix this is
// unsafeDiscardStringContext.
func Raw(text string) String { return String{parts: []part{{kind: rawPart, text: text}}} }

// StorePath returns a path that exists in the store and that no package builds. In Nix this is
// builtins.storePath. For the output of a package, use [Package.Out].
func StorePath(path storepath.Path) String {
	if _, err := storepath.Parse(string(path)); err != nil {
		return String{err: err}
	}
	return String{parts: []part{{kind: pathPart, text: string(path)}}}
}

// Placeholder returns a placeholder for the path of an output of the package that is being declared. The
// builder sees the path instead.
func Placeholder(output string) String {
	return String{parts: []part{{kind: ownPart, text: output}}}
}

// Join returns the values separated by separator. See [Spec] for the allowed values.
func Join(separator string, values ...any) String {
	var s String
	for i, v := range values {
		if i > 0 {
			s.addText(separator)
		}
		s.add(coerce(v))
	}
	return s
}

// Sprintf formats like [fmt.Sprintf], and remembers the packages, outputs, sources and Strings among its
// arguments. These require the verb %s or %v.
func Sprintf(format string, args ...any) String {
	var marked []String
	wrapped := make([]any, len(args))
	for i, arg := range args {
		if s, ok := mention(arg); ok {
			arg = marker{len(marked)}
			marked = append(marked, s)
		}
		wrapped[i] = arg
	}
	return unmark(fmt.Sprintf(format, wrapped...), marked)
}

// A marker prints as a marker for a [String] between two NUL bytes.
type marker struct{ i int }

// Format implements fmt.Formatter.
func (m marker) Format(f fmt.State, verb rune) {
	_, width := f.Width()
	_, precision := f.Precision()
	if verb != 's' && verb != 'v' || width || precision {
		io.WriteString(f, "\x00!\x00")
		return
	}
	fmt.Fprintf(f, "\x00%d\x00", m.i)
}

// unmark replaces the markers in text by the marked strings.
func unmark(text string, marked []String) String {
	s := String{parts: make([]part, 0, 2*len(marked)+1)}
	i := -1
	for piece := range strings.SplitSeq(text, "\x00") {
		if i++; i%2 == 0 {
			s.addText(piece)
			continue
		}
		n, err := strconv.Atoi(piece)
		if err != nil || n >= len(marked) {
			s.err = fmt.Errorf("pixpkgs.Sprintf: packages, and values that mention them, require %%s or %%v without a width; texts must not contain NUL bytes")
			return s
		}
		s.add(marked[n])
	}
	return s
}
