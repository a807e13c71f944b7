package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"pix/activity"
)

// copyLog copies a build log to standard output: on a terminal as text that is safe there, elsewhere unchanged unless the
// user wants no colours.
func (a *app) copyLog(log io.Reader) error {
	terminal := isTerminal(a.stdout)
	if !terminal && !a.color.isOff(a.getenv) {
		_, err := io.Copy(a.stdout, log)
		return err
	}
	return copyText(a.stdout, log, a.color.on(a.stdout, a.getenv), terminal)
}

// maxLogPiece is how long a piece of a line is at most. A builder may print a line without end.
const maxLogPiece = 64 << 10

// copyText copies lines without control characters other than colours. With overwrite, only the last state of a line
// that overwrites itself is copied, such as a progress bar. It copies a line when the line is complete.
func copyText(dst io.Writer, src io.Reader, color, overwrite bool) error {
	lines := bufio.NewReaderSize(src, maxLogPiece)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			if _, err := io.WriteString(dst, logText(line, color, overwrite)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}

// logText returns a line of a log, with its line feed, as a text that is safe on a terminal.
func logText(line []byte, color, overwrite bool) string {
	text, hasEnd := bytes.CutSuffix(line, []byte("\n"))
	if overwrite {
		text = bytes.TrimRight(text, "\r")
		text = text[bytes.LastIndexByte(text, '\r')+1:]
	}
	safe := activity.Plain(string(text))
	if color {
		safe = activity.Colored(string(text))
	}
	if hasEnd {
		safe += "\n"
	}
	return safe
}

// A colorMode says when output has colours. It is the value of the flag --color.
type colorMode string

const (
	colorAuto   colorMode = "auto" // on a terminal, unless NO_COLOR is set
	colorAlways colorMode = "always"
	colorNever  colorMode = "never"
)

var colorModes = []string{string(colorAuto), string(colorAlways), string(colorNever)}

func (m *colorMode) String() string { return string(*m) }
func (m *colorMode) Type() string   { return "when" }

// Set implements pflag.Value.
func (m *colorMode) Set(s string) error {
	*m = colorMode(s)
	switch *m {
	case colorAuto, colorAlways, colorNever:
		return nil
	}
	return fmt.Errorf("%q is not auto, always or never", s)
}

// isOff reports whether the user wants no colours at all.
func (m colorMode) isOff(getenv func(string) string) bool {
	return m == colorNever || m != colorAlways && getenv("NO_COLOR") != ""
}

// on reports whether output to w has colours.
func (m colorMode) on(w io.Writer, getenv func(string) string) bool {
	if m.isOff(getenv) {
		return false
	}
	return m == colorAlways || isTerminal(w) && !strings.HasPrefix(getenv("TERM"), "dumb")
}
