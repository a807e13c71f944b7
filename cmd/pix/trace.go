package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// A traceFile is the file of --trace. All stores that a verb opens share it.
type traceFile struct {
	name   string // --trace; "" for no trace
	bodies bool   // --trace-bodies

	file *os.File // nil until it is opened
}

func (t *traceFile) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&t.name, "trace", "", "write what is said to daemons, and by them, to this `file`")
	flags.BoolVar(&t.bodies, "trace-bodies", false, "with --trace: write contents and log lines in full, so that a test can replay the file")
}

// open returns the writer of the trace, or nil without --trace. It opens the file once; the file stays open
// until the process ends. Only the user can read it, because traffic may contain secrets.
func (t *traceFile) open() (io.Writer, error) {
	if t.bodies && t.name == "" {
		return nil, &usageError{errors.New("--trace-bodies needs --trace FILE")}
	}
	if t.name == "" {
		return nil, nil
	}
	if t.file == nil {
		f, err := os.OpenFile(t.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--trace: %w", err)}
		}
		t.file = f
	}
	return t.file, nil
}

// bodyLimit returns how many bytes of a body the trace shows: -1 for all of them, 0 for the default.
func (t *traceFile) bodyLimit() int {
	if t.bodies {
		return -1
	}
	return 0
}
