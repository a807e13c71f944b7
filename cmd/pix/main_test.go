package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pix/internal/realnix"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pix": main})
}

// TestScripts runs the scripts that need no daemon.
func TestScripts(t *testing.T) {
	testscript.Run(t, params("testdata/script", ""))
}

// TestRealScripts runs the scripts that need a daemon with each of the real ones. Each
// script has a daemon of its own.
func TestRealScripts(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		p := params("testdata/realscript", "")
		p.Condition = func(cond string) (bool, error) {
			switch cond {
			case "old": // from before 1.30, when nobody looked at the names of outputs
				return s.Name == "bullseye", nil
			case "new": // 2.26 and later, with the verbs as they are today
				return s.Name == "trixie" || s.Name == "sid", nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		}
		p.Cmds["nix"] = nixCommand
		p.Setup = func(env *testscript.Env) error {
			d := realnix.Start(t, s, nil)
			env.Values[daemonKey{}] = d
			env.Setenv("NIXTMP", d.HostPath("/tmp"))
			return setup(d.Socket)(env)
		}
		testscript.Run(t, p)
	})
}

// daemonKey is the key of a script's daemon among its values.
type daemonKey struct{}

func params(dir, socket string) testscript.Params {
	return testscript.Params{
		Dir:   dir,
		Setup: setup(socket),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":    await,
			"exitcode": exitcode,
			"nar":      narOf,
			"oddtree":  oddTree,
		},
	}
}

// exitcode N COMMAND... runs a command that must end with that code.
func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N COMMAND...")
	}
	code := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// setup gives a script the repository's testdata, and the socket of a daemon. Without one
// there is none: the default socket of the machine is never asked.
func setup(socket string) func(*testscript.Env) error {
	return func(env *testscript.Env) error {
		testdata, err := filepath.Abs("../../testdata")
		if err != nil {
			return err
		}
		socket := cmp.Or(socket, filepath.Join(env.WorkDir, "no-socket"))
		env.Setenv("GORACE", "atexit_sleep_ms=0") // else every process under the race detector takes a second to end
		env.Setenv("TESTDATA", testdata)
		env.Setenv("NIX_DAEMON_SOCKET_PATH", socket)
		for _, name := range []string{"PIX_STORE", "NIX_REMOTE", "NIX_STORE_DIR"} {
			env.Setenv(name, "")
		}
		for name, contents := range map[string]string{"abc": "abc", "hello": "hello world"} { // without a line feed
			if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(contents), 0o666); err != nil {
				return err
			}
		}
		return nil
	}
}
