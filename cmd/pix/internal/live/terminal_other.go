//go:build !unix

package live

import (
	"os"

	"golang.org/x/term"
)

// A FileTerminal is a file that is a terminal.
type FileTerminal struct{ *os.File }

// Size implements [Terminal].
func (t FileTerminal) Size() (columns, rows int) {
	columns, rows, _ = term.GetSize(int(t.Fd()))
	return columns, rows
}

// Foreground implements [Terminal].
func (t FileTerminal) Foreground() bool { return true }
