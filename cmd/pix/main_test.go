package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pix/builder/sandbox"
	"pix/daemontest"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/monitor"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	monitor.Main()
	if _, isCommand := commands[filepath.Base(os.Args[0])]; !isCommand {
		if err := testenv.ForgetMachine(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	testscript.Main(m, commands)
}

// ssh replaces OpenSSH in scripts. It connects every host to the daemon of the script.
func ssh() {
	nc, err := net.Dial("unix", os.Getenv("NIX_DAEMON_SOCKET_PATH"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(255)
	}
	fmt.Println("started") // pix makes ssh print this when the connection is established
	go func() {
		io.Copy(nc, os.Stdin)
		nc.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(os.Stdout, nc)
}

// commands are the programs that tests run in processes of their own.
var commands = map[string]func(){"pix": main, "ssh": ssh}

// TestScripts runs the scripts that need no daemon.
func TestScripts(t *testing.T) {
	p := params("testdata/script", "")
	p.Condition = func(cond string) (bool, error) {
		switch cond {
		case "bash-completion":
			_, err := os.Stat("/usr/share/bash-completion/bash_completion")
			return err == nil, nil
		case "sandbox": // this machine runs sandboxed builds
			return sandbox.Check(context.Background()) == nil, nil
		}
		return false, fmt.Errorf("unknown condition %s", cond)
	}
	testscript.Run(t, p)
}

// TestDaemonScripts runs the scripts that need a daemon, with a daemon in this process. The daemon at $UNTRUSTED
// serves the same store and trusts no client. To build a derivation, the daemon writes the variable "contents" into
// each output; with the value "fail" the build fails.
func TestDaemonScripts(t *testing.T) {
	p := params("testdata/daemonscript", "")
	p.Setup = func(env *testscript.Env) error {
		d := daemontest.New(t, &daemontest.Options{Store: memstore.New(&memstore.Options{Build: buildContents, ReadLink: os.Readlink})})
		untrusted := daemontest.New(t, &daemontest.Options{Store: d.Store, Untrusted: true})
		env.Setenv("UNTRUSTED", "unix://"+untrusted.Socket())
		return setup(d.Socket())(env)
	}
	testscript.Run(t, p)
}

func buildContents(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
	contents, _ := d.Env.Get("contents")
	if contents == "fail" {
		return fmt.Errorf("'%s' fails, as it should", path)
	}
	for name := range d.Outputs.All() {
		out, _ := d.Env.Get(name)
		archive, info, err := fileArchive(contents + " of " + name)
		if err != nil {
			return err
		}
		if info.Path, err = s.Dir().Parse(out); err != nil {
			return err
		}
		info.Deriver = path
		if err := s.AddToStoreNAR(ctx, info, archive, &store.AddOptions{NoSignatures: true}); err != nil {
			return err
		}
	}
	return nil
}

// fileArchive returns the archive of a file, and an info with its hash and size.
func fileArchive(contents string) (io.Reader, *store.PathInfo, error) {
	var b bytes.Buffer
	hasher := nar.NewHasher(nixhash.SHA256)
	w := nar.NewWriter(io.MultiWriter(&b, hasher))
	err := w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	if err == nil {
		_, err = io.WriteString(w, contents)
	}
	if err == nil {
		err = w.Close()
	}
	return &b, &store.PathInfo{NARHash: hasher.Hash(), NARSize: hasher.Size()}, err
}

// TestRealScripts runs the scripts that need a real daemon with each version of Nix. Each script has a daemon of
// its own.
func TestRealScripts(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		p := params("testdata/realscript", "")
		p.Condition = func(cond string) (bool, error) {
			switch cond {
			case "old": // protocol versions before 1.30, which do not check the names of outputs
				return s.Name == "bullseye", nil
			case "new": // 2.26 and later, which have the current verbs
				return s.Name == "trixie" || s.Name == "sid", nil
			}
			return false, fmt.Errorf("unknown condition %s", cond)
		}
		p.Cmds["nix"] = nixCommand
		p.Setup = func(env *testscript.Env) error {
			d := realnix.Start(t, s, nil)
			env.Values[daemonKey{}] = d
			env.Setenv("NIXTMP", d.HostPath("/tmp"))
			env.Setenv("STORE", d.HostPath("/nix/store"))
			return setup(d.Socket)(env)
		}
		testscript.Run(t, p)
	})
}

// daemonKey is the key of the daemon in the values of a script.
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
			"serve":    serveDir,
		},
	}
}

// exitcode implements the script command "exitcode N COMMAND...", which fails unless the command exits with N.
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

// serveDir implements the script command "serve DIR", which serves a directory over HTTP at $URL until the script
// ends.
func serveDir(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(server.Close)
	ts.Setenv("URL", server.URL)
}

// setup sets the environment of a script: the repository's testdata and the socket of a daemon. Without a socket
// the script has no daemon, so it never connects to the daemon of the machine.
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
		for _, name := range []string{"PIX_STORE", "NIX_REMOTE", "NIX_STORE_DIR", "NIX_LOG_DIR", "NIX_CONFIG", "NIX_USER_CONF_FILES"} {
			env.Setenv(name, "")
		}
		for _, name := range []string{"NIX_STATE_DIR", "NIX_CONF_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} { // not the directories of the machine
			env.Setenv(name, filepath.Join(env.WorkDir, strings.ToLower(name)))
		}
		for name, contents := range map[string]string{"abc": "abc", "hello": "hello world"} { // without a line feed
			if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(contents), 0o666); err != nil {
				return err
			}
		}
		return nil
	}
}
