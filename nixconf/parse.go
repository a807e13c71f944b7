package nixconf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// An Assignment is a line that sets something.
type Assignment struct {
	Name  string // as it is written, such as "extra-trusted-users"
	Value string // words with a space between
	File  string // where it stands
	Line  int    // from 1 on
	Source
}

func (a Assignment) origin() Origin { return Origin{a.Source, a.File, a.Line} }

// A SyntaxError says which line of a configuration is no setting or has an invalid value. Line is 0 if the value does not
// come from a file, but from a flag for instance.
type SyntaxError struct {
	File   string
	Line   int
	Reason string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

const (
	// maxFile is how many bytes a file may have.
	maxFile = 4 << 20
	// maxDepth is how deep files may include others. Nix has no limit, and a file that
	// includes itself ends it.
	maxDepth = 32
)

// Parse returns what text sets, and the files that it includes, in their order. The name of
// the file is for errors, and what is included is looked for beside it. The error is a
// [*SyntaxError] for what is no setting, and for a file that is to be included and is not
// there. A file that is there and cannot be read is passed over, as in Nix.
func Parse(text, file string) ([]Assignment, error) { return parse(text, file, 0) }

func parse(text, file string, depth int) (set []Assignment, err error) {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.FieldsFunc(line, isSpace)
		if len(words) == 0 {
			continue
		}
		bad := func(format string, args ...any) error {
			return &SyntaxError{file, n, fmt.Sprintf(format, args...)}
		}
		isInclude := words[0] == "include" || words[0] == "!include"
		switch {
		case isInclude && len(words) == 2:
			more, err := include(words[1], file, depth, words[0] == "!include")
			if errors.Is(err, fs.ErrNotExist) {
				return nil, bad("the included file '%s' does not exist", words[1])
			}
			if err == errTooDeep {
				return nil, bad("'%s' is included in more than %d files that include each other", words[1], maxDepth)
			}
			if err != nil {
				return nil, err
			}
			set = append(set, more...)
		case isInclude || len(words) < 2 || words[1] != "=":
			return nil, bad("syntax error in configuration line '%s'; expected NAME = VALUE, or include FILE", strings.TrimFunc(line, isSpace))
		default:
			set = append(set, Assignment{words[0], strings.Join(words[2:], " "), file, n, FromFile})
		}
	}
	return set, nil
}

// isSpace reports whether Nix takes r for the space between words.
func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

var errTooDeep = errors.New("included too deep")

// include reads a file that another one includes.
func include(name, from string, depth int, mayMiss bool) ([]Assignment, error) {
	if depth == maxDepth {
		return nil, errTooDeep
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(from), name)
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if mayMiss {
			return nil, nil
		}
		return nil, err
	}
	text, err := read(name)
	if err != nil {
		return nil, nil
	}
	return parse(text, name, depth+1)
}

// read returns what is in a file.
func read(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return string(text), err
}
