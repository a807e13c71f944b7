package explain_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"

	"pix/derivation"
	"pix/explain"
	"pix/nixhash"
	"pix/storepath"
)

// scriptCommands are the commands of scripts, besides their functions.
var scriptCommands = []string{
	"set", "export", "printf", "cat", "cut", "md5sum", "sha1sum", "sha256sum", "sha512sum", "b3sum", "xor20", "nix32",
	"fold", "tac", "shift", "[", "digit", "tr", "basenc", "base64", "openssl", "verified", "mktemp", "trap",
}

// checkScript parses a script and checks that it has no commands, expansions and redirections except the expected ones.
func checkScript(t *testing.T, script string) {
	t.Helper()
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "")
	if err != nil {
		t.Fatalf("the script is not valid: %v\n%s", err, script)
	}
	syntax.Walk(f, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.CallExpr:
			if len(n.Args) > 0 && !slices.Contains(scriptCommands, n.Args[0].Lit()) {
				t.Errorf("the script runs %q", n.Args[0].Lit())
			}
		case *syntax.SglQuoted:
			if strings.ContainsFunc(n.Value, func(r rune) bool { return r < ' ' || r >= 0x7f || strings.ContainsRune("$`!'", r) }) && n.Value != `rm -r "$tmp"` {
				t.Errorf("the script has the word %q", n.Value)
			}
		case *syntax.Redirect:
			if to := script[n.Word.Pos().Offset():n.Word.End().Offset()]; !slices.Contains([]string{`"$tmp/key"`, `"$tmp/signature"`, `"$tmp/text"`, `"$tmp/out"`, "&1"}, to) && to != "1" {
				t.Errorf("the script redirects %s %s", n.Op, to)
			}
		case *syntax.ExtGlob, *syntax.ProcSubst:
			t.Errorf("the script has a %T", n)
		}
		return true
	})
}

// results are the results that the script of an explanation prints.
func results(e *explain.Explanation) (lines []string) {
	used := map[int]bool{}
	for _, s := range e.Steps {
		for _, in := range s.Inputs {
			used[in.From] = true
		}
	}
	for i, s := range e.Steps {
		if s.Name == explain.StepPath || !used[i+1] && s.Op != explain.OpShow {
			lines = append(lines, s.Result)
		}
	}
	return lines
}

// runScript runs the script of an explanation with a shell and compares what it prints with the results.
func runScript(t *testing.T, shell string, e *explain.Explanation) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's -a %dir")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	script, err := e.Script(dir)
	if err != nil {
		t.Fatalf("%s: %v", e.Subject, err)
	}
	recompute(t, e)
	checkScript(t, script.Text)
	for _, f := range script.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Contents), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args := strings.Fields(shell)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(script.Text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s\n%s", e.Subject, err, stderr.Bytes(), script.Text)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, results(e)) {
		t.Errorf("%s: the script prints %q, want %q\n%s", e.Subject, got, results(e), script.Text)
	}
}

// shells returns the shells that are installed.
func shells(t *testing.T) (found []string) {
	t.Helper()
	for _, shell := range []string{"sh", "bash", "busybox sh"} {
		if _, err := exec.LookPath(strings.Fields(shell)[0]); err != nil {
			t.Logf("%s is not installed", shell)
			continue
		}
		found = append(found, shell)
	}
	return found
}

func TestScriptOfPaths(t *testing.T) {
	for _, shell := range shells(t) {
		for _, c := range contentPaths {
			e, err := explain.Path(infoOf(t, c.path, c.ca, c.references), nil)
			if err != nil {
				t.Fatal(err)
			}
			runScript(t, shell, e)
		}
	}
}

// A hostile derivation is explained by a script that runs no other command.
func TestHostileScript(t *testing.T) {
	installed := shells(t)
	everyByte := ""
	for c := range 256 {
		everyByte += string([]byte{byte(c)})
	}
	for _, hostile := range []string{
		"'; touch pwned; '", "$(touch pwned)", "`touch pwned`", "\n touch pwned\n", "%s%d%n\\c\\0", "-n", "a\x00b\xff\u202e", "!!", "", "*", "~",
		"\\", "'", "a\r\n\x00", everyByte, strings.Repeat("'", 64<<10), strings.Repeat("\xff", 64<<10+1),
	} {
		d := &derivation.Derivation{Name: "hostile", Dir: storepath.DefaultDir, Platform: hostile, Builder: hostile, Args: []string{hostile, hostile}}
		d.Outputs.Set("out", derivation.DeferredOutput())
		d.Env.Set(hostile, hostile)
		d.Env.Set("out", "")
		if err := d.FillOutputPaths(nil, nil); err != nil {
			t.Fatal(err)
		}
		path, err := d.Path()
		if err != nil {
			t.Fatal(err)
		}
		e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: texts{}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, shell := range installed {
			runScript(t, shell, e)
		}
	}
}

func FuzzScript(f *testing.F) {
	f.Add("'; touch pwned; '", "\n", "out'$x")
	f.Fuzz(func(t *testing.T, a, b, output string) {
		d := &derivation.Derivation{Name: "hostile", Dir: storepath.DefaultDir, Platform: a, Builder: b, Args: []string{a + b}}
		d.Outputs.Set(output, derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
		d.Env.Set(b, a)
		e, err := explain.Derivation(t.Context(), explain.Drv{Path: "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hostile.drv", Derivation: d, Inputs: texts{}}, nil)
		if err != nil {
			return
		}
		script, err := e.Script(a)
		if err != nil {
			t.Fatal(err)
		}
		checkScript(t, script.Text)
		text := e.AppendText(nil, nil)
		if bytes.ContainsAny(text, "\x1b\x00\x07\r") {
			t.Errorf("the text has control characters: %q", text)
		}
	})
}

// explainArgument explains a derivation with an argument.
func explainArgument(t *testing.T, arg string) *explain.Explanation {
	t.Helper()
	d := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir, Platform: "x", Builder: "x", Args: []string{arg}}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	path, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: texts{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLargeText(t *testing.T) {
	e := explainArgument(t, strings.Repeat("long ", 20_000))
	if _, err := e.Script(""); err == nil || !strings.Contains(err.Error(), "has 100") {
		t.Errorf("without a directory: %v", err)
	}
	runScript(t, "sh", e)
	for _, o := range []*explain.TextOptions{nil, {Full: true}, {Color: true}} {
		full := o != nil && o.Full
		if text := e.AppendText(nil, o); len(text) > 200_000 != full {
			t.Errorf("with the options %+v the text has %d bytes", o, len(text))
		}
	}
}
