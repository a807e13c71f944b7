package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A Runner runs processes through one supervisor, which it starts when the first process runs and keeps
// until Close. Most programs need no Runner of their own and call [Run].
type Runner struct {
	// Helper is the file of an installed pix-sandbox, which then is the supervisor and sets processes up. "" is this
	// program, which must have called [Main]. Builtins always run in this program if it has called Main.
	Helper string

	runner
}

var standard Runner

// Run runs a process, writes its output to log as it comes, and returns how it ended. A process that ends with an
// error is a Result; Run returns an error if the process could not be started or watched. It is a [SetupError] if
// this machine refuses a step of the set-up, and wraps [ErrLost] if another attempt can succeed.
//
// If ctx ends, or log returns an error, Run kills the process and all its descendants, and returns the cause of ctx, or
// that error. A process that closes its output and does not end within a second is killed too, and the Result then says
// that SIGKILL ended it.
// Run waits for each Write to log.
func Run(ctx context.Context, req *Request, log io.Writer) (*Result, error) {
	return standard.Run(ctx, req, log)
}

// Check runs a process that does nothing, with namespaces, as the user of this process. Its error names the step that
// this machine refuses and what to enable. The first answer is kept until the program ends.
func Check(ctx context.Context) error { return standard.Check(ctx) }

// UseHelper sets the Helper of the Runner that [Run] and [Check] use. It has no effect on a supervisor that runs.
func UseHelper(file string) { standard.setHelper(file) }

// HelperBeside returns the pix-sandbox in the directory of this program, or "" if there is none that only root and
// the user of this process can change.
func HelperBeside() string { return beside("pix-sandbox") }

// beside returns a program in the directory of this program, or "" if there is none that only root and the user of this
// process can change.
func beside(name string) string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	file := filepath.Join(filepath.Dir(program), name)
	stat, err := os.Stat(file)
	if err != nil || !stat.Mode().IsRegular() || stat.Mode()&0o022 != 0 || stat.Mode()&0o111 == 0 || !ownedByUs(stat) {
		return ""
	}
	return file
}

// ErrLost says that the supervisor, or a process during its set-up, was killed from outside. It says nothing about the
// request.
var ErrLost = errors.New("the sandbox's supervisor ended unexpectedly")

// ErrNoMain says that the program did not call [Main] and has no helper.
var ErrNoMain = errors.New("this program cannot start a sandbox: call sandbox.Main first in main (and in TestMain), or name an installed pix-sandbox as the helper")

// A HelperError says that a program started as a supervisor did not answer as one.
type HelperError struct {
	File string
	Err  error
}

func (e *HelperError) Error() string {
	return fmt.Sprintf("%s is no sandbox helper for this version (%v): call sandbox.Main first in main, or install the pix-sandbox that belongs to this program", e.File, e.Err)
}

func (e *HelperError) Unwrap() error { return e.Err }

// A SetupError says which step of the set-up of a process failed.
type SetupError struct {
	Step string // such as "mounting /proc"
	Err  error  // often a system call's error
	// Advice says what to enable on this machine, in one or more lines; "" if that is unknown.
	Advice string
}

func (e *SetupError) Error() string {
	text := fmt.Sprintf("setting up the sandbox: %s: %v", e.Step, e.Err)
	if e.Advice != "" {
		text += "\n" + e.Advice
	}
	return text
}

func (e *SetupError) Unwrap() error { return e.Err }
