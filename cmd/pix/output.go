package main

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pix/internal/exactjson"
	"pix/internal/sizes"
	"pix/storepath"
)

// print writes a result to standard output.
func (a *app) print(result string) error {
	_, err := io.WriteString(a.stdout, result)
	return err
}

// printJSON prints v as marshalJSON returns it.
func (a *app) printJSON(v any) error {
	text, err := marshalJSON(v)
	if err != nil {
		return err
	}
	return a.print(text)
}

// printEither prints the object as JSON, or the text.
func (a *app) printEither(text string, object any, asJSON bool) error {
	if asJSON {
		return a.printJSON(object)
	}
	return a.print(text)
}

// marshalJSON returns v as JSON, indented by two spaces, with a line feed at the end. It does not escape <, > and
// &.
func marshalJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.String(), err
}

// orNull returns nil for an empty string, which is null in JSON.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func addPathsJSONFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print a list of paths, as JSON")
}

// printPaths prints paths, a line each or as JSON.
func (a *app) printPaths(paths []storepath.Path, asJSON bool) error {
	return a.printEachPath(func(yield func(storepath.Path, error) bool) {
		for _, p := range paths {
			if !yield(p, nil) {
				return
			}
		}
	}, asJSON)
}

// printEachPath is printPaths for an iterator, and holds a small part of the text only. After an error it returns the
// error and leaves the text incomplete.
func (a *app) printEachPath(paths iter.Seq2[storepath.Path, error], asJSON bool) error {
	const enough = 64 << 10
	w := exactjson.Writer{Indent: "  "}
	if asJSON {
		w.Open('[')
	}
	for p, err := range paths {
		if err != nil {
			return err
		}
		if asJSON {
			w.Element()
			w.String(string(p))
		} else {
			w.Raw(string(p))
			w.Raw("\n")
		}
		if len(w.Buf) >= enough {
			if _, err := a.stdout.Write(w.Buf); err != nil {
				return err
			}
			w.Buf = w.Buf[:0]
		}
	}
	if asJSON {
		w.Close(']')
		w.Raw("\n")
	}
	_, err := a.stdout.Write(w.Buf)
	return err
}

// formatSize formats a number of bytes, with a unit if human is true.
func formatSize(n uint64, human bool) string {
	if human {
		return sizes.Human(n)
	}
	return strconv.FormatUint(n, 10)
}

// counted returns a number and a noun, with an s unless the number is 1.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// shown returns untrusted text as it is printed. On a terminal control characters and bytes that are not UTF-8 are escaped,
// because a terminal would obey them. Elsewhere a program may need the text itself.
func (a *app) shown(s string) string {
	if !isTerminal(a.stdout) {
		return s
	}
	return oneLine(visible(s))
}

// oneLine replaces line feeds with \n.
func oneLine(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
