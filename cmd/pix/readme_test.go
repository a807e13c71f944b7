package main

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pix/internal/realnix"
)

var update = flag.Bool("update", false, "write the output of commands into the README and the generated pages")

const readme = "../../README.md"

// A readmeCommand is a command in a console block of the README, with the output below it.
type readmeCommand struct {
	command, output string
}

// readmeCommands returns the commands in the console blocks of the README.
func readmeCommands(text string) (all []readmeCommand) {
	inside := false
	for line := range strings.Lines(text) {
		switch {
		case line == "```console\n":
			inside = true
		case line == "```\n":
			inside = false
		case inside && strings.HasPrefix(line, "$ "):
			all = append(all, readmeCommand{command: strings.TrimSpace(line[2:])})
		case inside:
			all[len(all)-1].output += line
		}
	}
	return all
}

// The paths in the output of the first command depend on the version of Go.
const firstCommand = "go run ./examples/greet"

var hashPart = regexp.MustCompile(`(/nix/store/)[0-9a-z]{32}`)

// TestReadme runs the commands of the README in order, with a real daemon, and compares the output. With -update it writes
// the output into the README.
func TestReadme(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "bookworm"), nil)
	bin, data := t.TempDir(), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "pix"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	all := readmeCommands(string(text))
	if len(all) < 10 {
		t.Fatalf("the README has only %d commands", len(all))
	}
	for _, s := range all {
		cmd := exec.Command("sh", "-c", s.command)
		cmd.Dir = filepath.Dir(readme)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "PIX_STORE=", "NIX_REMOTE=",
			"NIX_STORE_DIR=", "XDG_DATA_HOME="+data, "NIX_DAEMON_SOCKET_PATH="+d.Socket, "GORACE=atexit_sleep_ms=0")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("$ %s\n%v\n%s", s.command, err, stderr.Bytes())
		}
		if variable := hashPart.ReplaceAllString(stdout.String(), "$1…"); s.command == firstCommand && !*update {
			stdout.Reset()
			stdout.WriteString(variable)
			s.output = hashPart.ReplaceAllString(s.output, "$1…")
		}
		if *update {
			text = bytes.Replace(text, []byte("$ "+s.command+"\n"+s.output), []byte("$ "+s.command+"\n"+stdout.String()), 1)
		} else if stdout.String() != s.output {
			t.Errorf("$ %s\nprints\n%sbut the README has\n%s", s.command, stdout.String(), s.output)
		}
	}
	if *update {
		if err := os.WriteFile(readme, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
