package sandbox

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// A Builtin is a function that runs in place of a program. log is the output of the process. If the function returns
// an error, the process prints "error: " and the text of the error, and exits with 1.
type Builtin = func(ctx context.Context, input []byte, log io.Writer) error

var (
	builtinsMu sync.Mutex
	builtins   = map[string]Builtin{trial: func(context.Context, []byte, io.Writer) error { return nil }}
)

// trial is the builtin that Check runs.
const trial = "sandbox:trial"

// Register makes f the builtin of that name. It must be called before [Main], such as in an init function: the process
// that runs f is a new one, which executes this program again.
func Register(name string, f Builtin) {
	builtinsMu.Lock()
	defer builtinsMu.Unlock()
	if _, exists := builtins[name]; exists {
		panic("sandbox: two builtins named " + name)
	}
	builtins[name] = f
}

// runBuiltin runs a builtin and returns the exit code.
func runBuiltin(name string, input []byte) int {
	builtinsMu.Lock()
	f := builtins[name]
	builtinsMu.Unlock()
	err := fmt.Errorf("unsupported builtin builder '%s'", name)
	if f != nil {
		err = f(context.Background(), input, os.Stderr)
	}
	if err == nil {
		return 0
	}
	text := err.Error()
	if !strings.HasPrefix(text, "\n") { // a message with traces begins on the next line, as in Nix
		text = " " + text
	}
	fmt.Fprintf(os.Stderr, "error:%s\n", text)
	return 1
}
