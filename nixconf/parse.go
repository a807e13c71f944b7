package nixconf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// An Assignment is a line that assigns a value to a setting.
type Assignment struct {
	Name  string // name in the line, such as "extra-trusted-users"
	Value string // the words of the value, separated by single spaces
	File  string // file that contains the line
	Line  int    // counted from 1
	Source
}

func (a Assignment) origin() Origin { return Origin{a.Source, a.File, a.Line} }

// A SyntaxError reports a line of a configuration that is not an assignment, or an invalid value. Line is 0 if
// the value does not come from a file, for example from a flag.
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
	// maxFile is the maximum size of a file in bytes.
	maxFile = 4 << 20
	// maxDepth is the maximum depth of included files. Nix has no limit: a file that includes
	// itself makes it crash.
	maxDepth = 32
)

// Parse returns the assignments in text and in the files that it includes, in order. file is the name of the
// text in errors; included files are relative to its directory. The error is a [*SyntaxError] for a line that
// is not an assignment, and for an included file that does not exist. As in Nix, an included file that exists
// but cannot be read is skipped. Reading an included file, which may be a pipe, ends with ctx.
func Parse(ctx context.Context, text, file string) ([]Assignment, error) {
	return parse(ctx, text, file, 0)
}

func parse(ctx context.Context, text, file string, depth int) (set []Assignment, err error) {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.FieldsFunc(line, isSpace)
		if len(words) == 0 {
			continue
		}
		syntaxError := func(format string, args ...any) error {
			return &SyntaxError{file, n, fmt.Sprintf(format, args...)}
		}
		isInclude := words[0] == "include" || words[0] == "!include"
		switch {
		case isInclude && len(words) == 2:
			more, err := include(ctx, words[1], file, depth, words[0] == "!include")
			if errors.Is(err, fs.ErrNotExist) {
				return nil, syntaxError("the included file '%s' does not exist", words[1])
			}
			if err == errTooDeep {
				return nil, syntaxError("'%s' is not included, because includes are nested more than %d deep", words[1], maxDepth)
			}
			if err != nil {
				return nil, err
			}
			set = append(set, more...)
		case isInclude || len(words) < 2 || words[1] != "=":
			return nil, syntaxError("syntax error in configuration line '%s'; expected NAME = VALUE, or include FILE", strings.TrimFunc(line, isSpace))
		default:
			set = append(set, Assignment{words[0], strings.Join(words[2:], " "), file, n, FromFile})
		}
	}
	return set, nil
}

// isSpace reports whether r separates words in Nix.
func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

var errTooDeep = errors.New("included too deep")

// include parses an included file. If optional is set, the file need not exist.
func include(ctx context.Context, name, from string, depth int, optional bool) ([]Assignment, error) {
	if depth == maxDepth {
		return nil, errTooDeep
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(from), name)
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if optional {
			return nil, nil
		}
		return nil, err
	}
	text, err := read(ctx, name)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, nil
	}
	return parse(ctx, text, name, depth+1)
}

// read is readNow until ctx ends. Then its goroutine may still wait for a pipe after read has returned.
func read(ctx context.Context, name string) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := readNow(name)
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// readNow returns the contents of a file of at most maxFile bytes. It waits for the writer of a pipe.
func readNow(name string) (string, error) {
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
