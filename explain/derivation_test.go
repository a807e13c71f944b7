package explain_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/storepath"
)

// The derivations of docs/derivations.md.
const (
	greetingPath = "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv"
	greetingText = `Derive([("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting","","")],[],[],"x86_64-linux","/bin/sh",["-c","echo \"saying hello\"; echo \"hello from a build\" > $out"],[("name","greeting"),("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting")])`

	farewellPath = "/nix/store/m5sdsjl80gicqk0pirk3b2mx9f5skcsx-farewell.drv"
	farewellText = `Derive([("out","/nix/store/aw2n1sgaggx7qnx0na0yg8wlr9wnmj7f-farewell","","")],[("/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv",["out"])],[],"x86_64-linux","/bin/sh",["-c","echo after $greeting > $out"],[("greeting","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting"),("name","farewell"),("out","/nix/store/aw2n1sgaggx7qnx0na0yg8wlr9wnmj7f-farewell")])`
)

// texts are derivations by path, as a loader.
type texts map[storepath.Path]string

func (t texts) LoadDerivation(_ context.Context, path storepath.Path) (string, error) {
	return t[path], nil
}

var greetings = texts{greetingPath: greetingText, farewellPath: farewellText}

// explainDrv explains a derivation.
func explainDrv(t *testing.T, l derivation.Loader, path storepath.Path) *explain.Explanation {
	t.Helper()
	text, err := l.LoadDerivation(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := derivation.ParseAt(path, text)
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: l}, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	recompute(t, e)
	return e
}

// stepOf returns the step with a name and output.
func stepOf(t *testing.T, e *explain.Explanation, name explain.StepName, output string) *explain.Step {
	t.Helper()
	for i := range e.Steps {
		if s := &e.Steps[i]; s.Name == name && s.Output == output {
			return s
		}
	}
	t.Fatalf("%s has no step %s of output %q", e.Subject, name, output)
	return nil
}

func TestDerivation(t *testing.T) {
	e := explainDrv(t, greetings, farewellPath)
	if len(e.Problems) != 0 {
		t.Errorf("problems: %q", e.Problems)
	}
	for _, c := range []struct {
		name                 explain.StepName
		output, text, result string
	}{
		{explain.StepText, "", farewellText, "15dc034d571e1039eb6128cf012a40b552835199d54a191daee0015e0c5abfb0"},
		{explain.StepFingerprint, "", "text:" + greetingPath + ":sha256:15dc034d571e1039eb6128cf012a40b552835199d54a191daee0015e0c5abfb0:/nix/store:farewell.drv", ""},
		{explain.StepPath, "", farewellPath, farewellPath},
		{explain.StepModulo, "", `Derive([("out","","","")],[("c3a7d11a7c026741a03f275ca17edc8c52c5e302d409276af191c6ed34c1acad",["out"])],[],"x86_64-linux","/bin/sh",["-c","echo after $greeting > $out"],[("greeting","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting"),("name","farewell"),("out","")])`,
			"794677e416ae37f2609b045263ebb6646cb617491e1a0608d4547647ef5d1335"},
		{explain.StepFingerprint, "out", "output:out:sha256:794677e416ae37f2609b045263ebb6646cb617491e1a0608d4547647ef5d1335:/nix/store:farewell", ""},
		{explain.StepBase32, "out", "", "aw2n1sgaggx7qnx0na0yg8wlr9wnmj7f"},
		{explain.StepPath, "out", "", "/nix/store/aw2n1sgaggx7qnx0na0yg8wlr9wnmj7f-farewell"},
	} {
		s := stepOf(t, e, c.name, c.output)
		if c.text != "" && s.Text != c.text || c.result != "" && s.Result != c.result {
			t.Errorf("step %s of output %q: %q, %q", c.name, c.output, s.Text, s.Result)
		}
	}
	if in := stepOf(t, e, explain.StepModulo, "").Inputs[0]; in.Name != greetingPath || in.Reason != explain.ReasonHashed {
		t.Errorf("the input is %+v", in)
	}
}

// A derivation with a wrong output path is explained, and the difference is a problem.
func TestDerivationWithWrongPath(t *testing.T) {
	text := strings.ReplaceAll(greetingText, "/bi0l335f", "/ci0l335f")
	e := explainDrv(t, texts{greetingPath: text}, greetingPath)
	if len(e.Problems) != 3 || !strings.Contains(e.Problems[1], "/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting") {
		t.Errorf("problems: %q", e.Problems)
	}
}

// A derivation that lacks the path of an output, or has one that is not known yet, is explained, and the difference is a problem.
func TestDerivationWithoutPath(t *testing.T) {
	f := fakePackages{t, texts{}}
	floating := &derivation.Derivation{Name: "floating", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	floating.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	blank, early := f.add("tool", "1"), f.add("tool", "1", f.finish(floating))
	blank.Outputs.Set("out", derivation.DeferredOutput())
	early.Env.Set("out", farewellPath)
	for _, c := range []struct {
		d    explain.Drv
		want string
	}{{blank, "-tool', but none is recorded"}, {early, "the path of the output 'out' is not known, but '" + farewellPath + "' is recorded"}} {
		e, err := explain.Derivation(t.Context(), c.d, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Problems) == 0 || !strings.Contains(e.Problems[0], c.want) {
			t.Errorf("the problems are %q, want %q", e.Problems, c.want)
		}
	}
}

// corpusDrvs unpacks a corpus and calls check for each derivation in a folder of it.
func corpusDrvs(t *testing.T, archive, folder string, check func(dir derivation.Directory, path storepath.Path)) {
	t.Helper()
	dir := t.TempDir()
	member := strings.TrimSuffix(folder, "built/drvs") // whose answers are beside it
	if member != folder {
		member += "built"
	}
	if out, err := exec.Command("tar", "--zstd", "-xf", filepath.Join(testenv.Corpus(t), archive), "-C", dir, member).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	drvs := derivation.Directory(filepath.Join(dir, folder))
	files, err := drvs.Files()
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		store := storepath.DefaultDir
		if strings.HasPrefix(archive, "guix") {
			store = "/gnu/store"
		}
		path, err := store.ParseBase(file)
		if err != nil {
			t.Fatal(err)
		}
		check(drvs, path)
	}
}

// The derivations of the corpora are explained without problems, and each known output path is the result of a step. Scripts
// compute the paths of some. With PIX_LONG it checks all derivations, each with one of the shells, and otherwise some of each kind.
func TestCorpus(t *testing.T) {
	long := os.Getenv("PIX_LONG") != ""
	installed := []string{"sh"}
	if long {
		installed = shells(t)
	}
	for _, c := range []struct {
		archive, folder     string
		explained, computed int // every n-th
	}{
		{"corepkgs-aiohttp.tar.zst", "corepkgs-aiohttp", 12, 240},
		{"corepkgs-texlive.tar.zst", "corepkgs-texlive", 200, 2400},
		{"guix-hello.tar.zst", "guix-hello", 12, 240},
		{"nix-features.tar.zst", "nix-features/drvs", 12, 240},
	} {
		kinds := map[string]int{}
		n := 0
		corpusDrvs(t, c.archive, c.folder, func(dir derivation.Directory, path storepath.Path) {
			n++
			all := long || strings.Contains(string(path), "long-")
			if n%c.explained != 0 && !all {
				return
			}
			e := explainDrv(t, dir, path)
			kinds[e.Kind]++
			checkPaths(t, dir, path, e)
			if n%c.computed == 0 || all || kinds[e.Kind] == 1 {
				runScript(t, installed[n%len(installed)], e)
			}
		})
		t.Logf("%s: %v", c.archive, kinds)
	}
}

// checkPaths checks the paths in the explanation of a derivation.
func checkPaths(t *testing.T, dir derivation.Directory, path storepath.Path, e *explain.Explanation) {
	t.Helper()
	if len(e.Problems) > 0 {
		t.Errorf("%s: %q", path, e.Problems)
	}
	if s := stepOf(t, e, explain.StepPath, ""); s.Result != string(path) {
		t.Errorf("the path of %s is %s", path, s.Result)
	}
	text, err := dir.LoadDerivation(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := derivation.ParseAt(path, text)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range d.Outputs.All() {
		if o.Path() != "" {
			if s := stepOf(t, e, explain.StepPath, name); s.Result != string(o.Path()) {
				t.Errorf("the output %s of %s is %s", name, path, s.Result)
			}
		}
	}
}
