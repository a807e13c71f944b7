package pixpkgs

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"pix/storepath"
)

// A String is a text that remembers which packages and sources it mentions, so that they
// become dependencies of what the text is used for. In Nix that is the context of a
// string. It is not changed once it is made; the zero value is the empty text.
type String struct {
	text  string // if there are no parts, which is the common case of plain text
	parts []part
	err   error // a mistake in how it was made, which is reported where it is used
}

// A partKind says what a part of a [String] is.
type partKind uint8

const (
	literalPart partKind = iota // text, in which declared paths are looked for
	rawPart                     // text that is taken as it is
	outputPart                  // the path of an output of a package
	drvPart                     // the path of a package's .drv file
	objectPart                  // the path of an Object
	pathPart                    // a path that is known to be in the store
	ownPart                     // the path of an output of the package itself
)

// A part is a piece of a [String].
type part struct {
	kind   partKind
	mere   bool           // it is text only, and makes no dependency
	text   string         // of literal and raw parts; the name of an output, "" for the default one
	pkg    *Package       // of output and drv parts, once it is known
	lazy   *Lazy          // the same, before it is known
	object *Object        // of object parts
	path   storepath.Path // of path parts
}

// String returns the text. For what is not known yet a placeholder stands in it.
func (s String) String() string {
	if s.err != nil {
		return misprint(s.err)
	}
	switch len(s.parts) {
	case 0:
		return s.text
	case 1:
		return s.parts[0].String()
	}
	var b strings.Builder
	for i := range s.parts {
		b.WriteString(s.parts[i].String())
	}
	return b.String()
}

func (p *part) String() string {
	switch p.kind {
	case literalPart, rawPart:
		return p.text
	case outputPart:
		if p.lazy != nil {
			return p.lazy.String()
		}
		return p.pkg.outputText(p.text)
	case drvPart:
		return string(p.pkg.path)
	case objectPart:
		return p.object.String()
	case pathPart:
		return string(p.path)
	case ownPart:
		return string(storepath.OwnPlaceholder(p.text))
	}
	panic("pixpkgs: part of no kind")
}

// misprint is the text of something that has none. It has a NUL byte, which no value may
// have, so that it is found if it gets into one by way of package fmt.
func misprint(err error) string { return "\x00(" + err.Error() + ")" }

// literal returns a plain text.
func literal(text string) String { return String{text: text} }

// plain returns the text if it mentions nothing, and whether that is so.
func (s *String) plain() (string, bool) { return s.text, len(s.parts) == 0 && s.err == nil }

// add appends what other says.
func (s *String) add(other String) {
	if s.err == nil {
		s.err = other.err
	}
	s.addText(other.text)
	if len(other.parts) > 0 {
		s.divide()
		s.parts = append(s.parts, other.parts...)
	}
}

// addText appends plain text.
func (s *String) addText(text string) {
	if text == "" {
		return
	}
	s.divide()
	s.parts = append(s.parts, part{kind: literalPart, text: text})
}

// divide makes a part of a plain text, so that others can follow.
func (s *String) divide() {
	if s.text != "" {
		s.parts = append(s.parts, part{kind: literalPart, text: s.text})
		s.text = ""
	}
}

// Raw returns a text in which nothing is looked for: paths in it are mere text, and make
// no dependency. In Nix that is unsafeDiscardStringContext.
func Raw(text string) String { return String{parts: []part{{kind: rawPart, text: text}}} }

// StorePath returns a path that is known to be in the store, and that no package makes; in
// Nix that is builtins.storePath. The path of a package's output does not belong here,
// but [Package.Out].
func StorePath(path storepath.Path) String {
	if _, err := storepath.Parse(string(path)); err != nil {
		return String{err: err}
	}
	return String{parts: []part{{kind: pathPart, path: path}}}
}

// Placeholder returns what stands for the path of an output of the package that is being
// declared, whose path is not known before. The builder sees the path in its place.
func Placeholder(output string) String {
	return String{parts: []part{{kind: ownPart, text: output}}}
}

// Join returns the values with separators between them; for what values may be see
// [Spec].
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

// Sprintf formats as [fmt.Sprintf] does, and remembers the packages, outputs, sources and
// Strings among its arguments. These go with the verbs %s and %v.
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

// A marker prints as a place where a [String] goes.
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

// unmark puts the marked strings into the places of their markers.
func unmark(text string, marked []String) String {
	var s String
	for i, piece := range strings.Split(text, "\x00") {
		if i%2 == 0 {
			s.addText(piece)
			continue
		}
		n, err := strconv.Atoi(piece)
		if err != nil || n >= len(marked) {
			s.err = fmt.Errorf("pixpkgs.Sprintf: packages, and what mentions them, go with %%s and %%v and no width; and a text has no NUL byte")
			return s
		}
		s.add(marked[n])
	}
	return s
}
