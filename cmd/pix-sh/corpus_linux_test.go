package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gaps are the scripts in testdata/gaps, in which pix-sh differs from the other shells, with the reasons.
var gaps = map[string]string{
	"uid.sh":       "the interpreter has read-only variables UID, EUID and GID",
	"noclobber.sh": "the interpreter has no option -C",
	"errexit.sh":   "a subshell in a function does not know that the function is called in a condition",
}

// buildShell builds a static pix-sh.
func buildShell(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pix-sh")
	cmd := exec.Command("go", "build", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// otherShells returns the commands of the shells that pix-sh is compared with.
func otherShells(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for name, args := range map[string][]string{"dash": nil, "busybox": {"ash"}} {
		if file, err := exec.LookPath(name); err == nil {
			found[name] = append([]string{file}, args...)
		} else {
			t.Logf("%s is not installed, so pix-sh is not compared with it", name)
		}
	}
	if len(found) == 0 {
		t.Skip("neither dash nor busybox is installed")
	}
	return found
}

// runScript returns the output and the exit code of a script in an empty directory.
func runScript(t *testing.T, shell []string, script string) string {
	t.Helper()
	script, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell[0], append(shell[1:len(shell):len(shell)], script)...)
	cmd.Dir, cmd.WaitDelay = t.TempDir(), time.Second
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || ctx.Err() != nil) {
		t.Errorf("%s %s: %v", shell[0], script, err)
	} else if ok {
		return fmt.Sprintf("%sexit code %d\n", out, exit.ExitCode())
	}
	return string(out) + "exit code 0\n"
}

func scripts(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files
}

// pix-sh, dash and ash print the same and have the same exit codes.
func TestCorpus(t *testing.T) {
	others, ours := otherShells(t), []string{buildShell(t)}
	for _, script := range scripts(t, "testdata/*.sh") {
		t.Run(filepath.Base(script), func(t *testing.T) {
			got := runScript(t, ours, script)
			for name, shell := range others {
				if want := runScript(t, shell, script); got != want {
					t.Errorf("pix-sh:\n%s%s:\n%s", got, name, want)
				}
			}
		})
	}
}

// A gap that is closed moves to the corpus.
func TestGaps(t *testing.T) {
	others, ours := otherShells(t), []string{buildShell(t)}
	files := scripts(t, "testdata/gaps/*.sh")
	for _, script := range files {
		if gaps[filepath.Base(script)] == "" {
			t.Errorf("%s has no reason", script)
		}
		got := runScript(t, ours, script)
		for name, shell := range others {
			if got == runScript(t, shell, script) {
				t.Errorf("pix-sh does the same as %s in %s:\n%s", name, script, got)
			}
		}
	}
	if len(files) != len(gaps) {
		t.Errorf("there are %d reasons and %d scripts", len(gaps), len(files))
	}
}

// A script on stdin shares its input with its commands, and takes options, $0 and parameters from the command line.
func TestCommandLine(t *testing.T) {
	shell := buildShell(t)
	for _, test := range []struct {
		args        []string
		input, want string
	}{
		{nil, "read x\nhello\necho got $x", "got hello\n"},
		{[]string{"-ec", "echo $0 $1; false; echo no", "name", "arg"}, "", "name arg\n"},
		{[]string{"-s", "a"}, "echo $1", "a\n"},
		{[]string{"-c", "echo $0"}, "", "sh\n"},
		{[]string{"-c", "/bin/true\necho second"}, "", "second\n"},
	} {
		cmd := exec.Command(shell, test.args...)
		cmd.Args[0], cmd.Stdin = "sh", strings.NewReader(test.input)
		out, _ := cmd.Output() // the exit code is not the point here
		if string(out) != test.want {
			t.Errorf("%q prints %q", test.args, out)
		}
	}
}
