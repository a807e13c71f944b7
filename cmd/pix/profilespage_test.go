package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runPages are pages whose console blocks are one session of a shell.
var runPages = []string{"../../docs/profiles.md", "../../docs/garbage-collection.md", "../../docs/pushing.md"}

var generationTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

// TestRunPages runs the commands of each page in order, in one shell, and compares the output. With -update it writes the
// output into the page.
func TestRunPages(t *testing.T) {
	for _, page := range runPages {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) { checkRunPage(t, page) })
	}
}

func checkRunPage(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := readmeCommands(string(text))
	const mark = "next command"
	var script strings.Builder
	for _, c := range all {
		script.WriteString(c.command + "\necho '" + mark + "'\n")
	}
	output := runPage(t, script.String())
	outputs := strings.Split(output, mark+"\n")
	if len(outputs) != len(all)+1 {
		t.Fatalf("%d outputs of %d commands:\n%s", len(outputs)-1, len(all), output)
	}
	page, rest := "", string(text)
	for i, c := range all {
		before, after, _ := strings.Cut(rest, "$ "+c.command+"\n"+c.output)
		page += before + "$ " + c.command + "\n" + outputs[i]
		rest = after
		if outputs[i] != c.output && !*update {
			t.Errorf("%s: got\n%swant\n%s", c.command, outputs[i], c.output)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(page+rest), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// runPage runs a script in a new directory, in which pix is this program. It replaces the name of the directory and the
// times in the output.
func runPage(t *testing.T, script string) string {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(bin, "pix")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "PIX_STORE=" + filepath.Join(dir, "store"), "GORACE=atexit_sleep_ms=0", "NIX_CONF_DIR=" + dir,
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	return generationTime.ReplaceAllString(strings.ReplaceAll(string(out), dir, "/home/ann"), "2026-11-29 12:00:00")
}
