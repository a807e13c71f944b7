package derivation_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// source returns the path and the text of a derivation with a URL.
func source(prefix, url string) (storepath.Path, string) {
	path := storepath.Path("/nix/store/" + prefix + strings.Repeat("0", len(digits)-len(prefix)) + "-source.drv")
	out := strings.TrimSuffix(string(path), ".drv")
	return path, `Derive([("out","` + out + `","","")],[],[],"p","b",[],[("curlOpts",""),("url","` + url + `")])`
}

// Inputs of one name are paired by the variables that mention them, then by their contents; others are not paired.
func TestDiffPairs(t *testing.T) {
	texts := map[storepath.Path]string{}
	dependentOn := func(inputs map[string]string) *derivation.Derivation {
		d := dependent("")
		for variable, url := range inputs {
			prefix := fmt.Sprintf("%d", len(texts)+1)
			path, s := source(prefix, url)
			texts[path] = s
			d.InputDerivations.Set(path, derivation.OutputsOf("out"))
			if !strings.HasPrefix(variable, "-") {
				d.Env.Set(variable, "see "+strings.TrimSuffix(string(path), ".drv")+"/x")
			}
		}
		return d
	}
	for what, test := range map[string]struct {
		a, b map[string]string
		want []string
	}{
		"by variables": {
			map[string]string{"x": "https://a", "y": "https://b", "z": "https://c"}, map[string]string{"x": "http://z", "y": "http://c", "z": "http://b"},
			[]string{"https://a http://z", "https://b http://c", "https://c http://b"},
		},
		"by likeness": {
			map[string]string{"-1": "https://example.org/main-1", "-2": "https://example.org/data-1"}, map[string]string{"-1": "https://example.org/data-2", "-2": "https://example.org/main-2"},
			[]string{"https://example.org/data-1 https://example.org/data-2", "https://example.org/main-1 https://example.org/main-2"},
		},
		"not told apart": {
			map[string]string{"-1": "u", "-2": "v"}, map[string]string{"-1": "x", "-2": "y"}, []string{" x", " y", "u ", "v "},
		},
		"one more": {
			map[string]string{"x": "https://a"}, map[string]string{"x": "https://a2", "y": "https://b"}, []string{" https://b", "https://a https://a2"},
		},
		"one on each side": {
			map[string]string{"-1": "u"}, map[string]string{"-1": "x"}, []string{"u x"},
		},
	} {
		clear(texts)
		a, b := dependentOn(test.a), dependentOn(test.b)
		loader := fromMap(texts)
		d, err := derivation.DiffClosure(t.Context(), a, loader, b, loader, nil)
		if err != nil {
			t.Fatal(err)
		}
		url := func(path storepath.Path) string {
			_, url, _ := strings.Cut(texts[path], `("url","`)
			url, _, _ = strings.Cut(url, `"`)
			return url
		}
		var got []string
		for _, in := range d.Inputs {
			got = append(got, url(in.A)+" "+url(in.B))
		}
		slices.Sort(got)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", what, got, test.want)
		}
	}
}

// What repeats another field is not a difference of its own, and what follows from another is a consequence.
func TestDiffConsequences(t *testing.T) {
	zero := "/nix/store/" + strings.Repeat("0", len(digits)) + "-"
	make := func(path, version string) *derivation.Derivation {
		return mustParse(t, `Derive([("bin","`+path+`a-`+version+`-bin","",""),("out","`+path+`a-`+version+`","","")],[],["`+path+`s"],"p","b",["`+path+`s/x"],[("bin","`+path+`a-`+version+`-bin"),("builder","b"),("cross","`+path+`unknown"),("out","`+path+`a-`+version+`"),("prefix","`+path+`a-`+version+`/usr"),("src","`+path+`s"),("version","`+version+`")])`)
	}
	d := derivation.Diff(make("/nix/store/"+digits+"-", "1"), make(zero, "2"))
	var own, consequences []string
	for _, c := range d.Changes {
		if c.Consequence {
			consequences = append(consequences, c.Field.String()+" "+c.Key)
		} else {
			own = append(own, c.Field.String()+" "+c.Key)
		}
	}
	if got, want := strings.Join(own, ", "), "variable version, source s"; got != want {
		t.Errorf("own: %s, want %s", got, want)
	}
	if got, want := strings.Join(consequences, ", "), "output bin, output out, argument 1, variable cross, variable prefix, variable src"; got != want {
		t.Errorf("consequences: %s, want %s", got, want)
	}
}

// An input whose outputs are unknown makes an output deferred, which is no cause of its own.
func TestDiffDeferral(t *testing.T) {
	make := func(input, out string) *derivation.Derivation {
		d := mustParse(t, `Derive([("out","`+out+`","","")],[`+input+`],[],"p","b",[],[("out","`+out+`")])`)
		d.Dir = storepath.DefaultDir
		return d
	}
	known, unknown := make("", "/nix/store/"+digits+"-a"), make("", "")
	input := make(`("/nix/store/`+digits+`-x.drv",["out"])`, "")
	for what, test := range map[string]struct {
		a, b *derivation.Derivation
		want string
	}{
		"an input less":    {input, known, "input x"},
		"an input more":    {known, input, "input x"},
		"without an input": {unknown, known, "output out"},
	} {
		causes := derivation.Diff(test.a, test.b).Causes()
		if len(causes) != 1 || causes[0].String() != test.want {
			t.Errorf("%s: %v, want %s", what, causes, test.want)
		}
	}
}

// A copy of a derivation in which one field of one input was changed has this field as the only cause.
func TestCorpusCauses(t *testing.T) {
	names, every := []string{"corepkgs-aiohttp", "guix-hello", "nix-features"}, 37
	if os.Getenv("PIX_LONG") != "" {
		names, every = corpora, 1
	}
	for _, name := range names {
		for _, folder := range drvFolders(t, name) {
			t.Run(name+"/"+filepath.Base(folder), func(t *testing.T) {
				all, tried, checked := files(t, folder), 0, 0
				for i, file := range sortedNames(all) {
					if i%every != 0 && len(all) > 200 {
						continue
					}
					if checkCause(t, folder, file, all[file], tried) {
						checked++
					}
					tried++
				}
				t.Logf("%d of %d derivations have an input that was changed", checked, tried)
			})
		}
	}
}

func sortedNames(all map[string]string) []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkCause checks the cause of a change in an input of a derivation. n selects the input and the field. It returns false
// for a derivation that has no input in the folder.
func checkCause(t *testing.T, folder, file, text string, n int) bool {
	t.Helper()
	path := pathOf(t, file, text)
	d, err := derivation.ParseAt(path, text)
	if err != nil {
		t.Fatal(err)
	}
	loader := derivation.Directory(folder)
	if d.InputDerivations.Len() == 0 {
		return false
	}
	inputPath, used := d.InputDerivations.At(n % d.InputDerivations.Len())
	inputText, err := loader.LoadDerivation(t.Context(), inputPath)
	if err != nil {
		return false
	}
	input, err := derivation.ParseAt(inputPath, inputText)
	if err != nil {
		t.Fatal(err)
	}
	changed, want := input.Clone(), ""
	for ; want == ""; n++ { // a field that the input does not have cannot be changed
		want = changeField(input, changed, n)
	}
	changes := map[storepath.Path]string{}
	with := derivation.LoaderFunc(func(ctx context.Context, path storepath.Path) (string, error) {
		if s, ok := changes[path]; ok {
			return s, nil
		}
		return loader.LoadDerivation(ctx, path)
	})
	// The input itself may have got a variable, so both sides have a copy.
	left, right := d.Clone(), d.Clone()
	for _, side := range []struct {
		parent *derivation.Derivation
		input  *derivation.Derivation
	}{{left, input}, {right, changed}} {
		if !replaceInput(t, with, changes, side.parent, inputPath, used, side.input) {
			return false
		}
	}
	diff, err := derivation.DiffClosure(t.Context(), left, with, right, with, nil)
	if err != nil {
		t.Fatal(err)
	}
	causes := diff.Causes()
	if want += " of " + input.Name; len(causes) != 1 || causes[0].String() != want {
		t.Errorf("%s: %d causes, want %s", file, len(causes), want)
		for _, c := range causes[:min(len(causes), 5)] {
			t.Logf("%s: %+v %+v", &c, c.Change, c.Input)
		}
	}
	return true
}

// changeField changes one field of a copy of a derivation, and returns the name of the cause. n selects the field. It
// returns "" if the derivation does not have the field. It may prepare the original, too.
func changeField(original, changed *derivation.Derivation, n int) string {
	switch n % 17 {
	case 0:
		changed.Env.Set("a new variable", "1")
		return "variable a new variable"
	case 1:
		changed.Args = append(slices.Clone(changed.Args), "-changed")
		return fmt.Sprintf("argument %d", len(changed.Args))
	case 2:
		changed.Builder += "-changed"
		changed.Env.Set("builder", changed.Builder)
		original.Env.Set("builder", original.Builder) // some derivations have no such variable
		return "builder"
	case 3:
		changed.Platform += "-changed"
		changed.Env.Set("system", changed.Platform)
		original.Env.Set("system", original.Platform)
		return "platform"
	case 4:
		return changeVariable(changed, func(name, value string) { changed.Env.Set(name, value+"-changed") })
	case 5:
		return changeVariable(changed, func(name, _ string) { changed.Env.Delete(name) })
	case 6:
		changed.InputSources.Add(storepath.Path(string(changed.Dir) + "/00000000000000000000000000000000-an-added-source"))
		return "source an-added-source"
	case 7:
		return removeFirst(changed.InputSources.Slice(), func(path storepath.Path) string {
			changed.InputSources.Delete(path)
			return "source " + path.Name()
		})
	case 8:
		return removeFirst(slices.Collect(changed.InputDerivations.Keys()), func(path storepath.Path) string {
			changed.InputDerivations.Delete(path)
			return "input " + strings.TrimSuffix(path.Name(), ".drv")
		})
	case 9:
		return removeFirst(changed.Args, func(first string) string {
			changed.Args = append([]string{first + "-changed"}, changed.Args[1:]...)
			return "argument 1"
		})
	case 10:
		if kind, err := changed.Kind(); err != nil || kind != derivation.InputAddressed {
			return ""
		}
		changed.Outputs.Set("an-added-output", derivation.DeferredOutput())
		changed.Env.Set("an-added-output", "")
		return "output an-added-output"
	case 11: // as 2 and 3, but a variable that repeated the field does not any more
		changed.Builder += "-changed"
		return "builder"
	case 12:
		changed.Platform += "-changed"
		return "platform"
	}
	return changeIdentity(changed, n%17)
}

// changeIdentity is changeField for the fields that make other paths of the outputs, or other outputs used.
func changeIdentity(changed *derivation.Derivation, n int) string {
	switch n {
	case 13:
		changed.Name += "-2"
		return "name"
	case 14:
		for path, used := range changed.InputDerivations.All() {
			if used.Names.Len() > 1 {
				used.Names = used.Names.Clone()
				used.Names.Delete(used.Names.At(0))
				changed.InputDerivations.Set(path, used)
				return "input " + strings.TrimSuffix(path.Name(), ".drv")
			}
		}
		return ""
	case 15:
		changed.Args = append([]string{"-inserted"}, changed.Args...)
		return "argument 1"
	}
	for name, o := range changed.Outputs.Clone().All() {
		if o.Kind() != derivation.Fixed || changed.Env.Has("outputHash") {
			return ""
		}
		hash := nixhash.Sum(o.Algorithm(), []byte("changed"))
		ca, err := storepath.NewContentAddress(o.Method(), hash)
		if err != nil {
			return ""
		}
		changed.Outputs.Set(name, derivation.FixedOutput(ca, ""))
	}
	return "output out"
}

// changeVariable calls change with the first variable that no other field repeats.
func changeVariable(d *derivation.Derivation, change func(name, value string)) string {
	for name, value := range d.Env.All() {
		repeated := d.Outputs.Has(name) || name == "__json" || name == "builder" || name == "system" || name == "outputs" || strings.HasPrefix(name, "outputHash")
		if !repeated && value != "" {
			change(name, value)
			return "variable " + name
		}
	}
	return ""
}

// removeFirst calls change with the first element of a list, if there is one.
func removeFirst[T any](list []T, change func(first T) string) string {
	if len(list) == 0 {
		return ""
	}
	return change(list[0])
}

// replaceInput replaces an input of a derivation, after it has computed its output paths, and computes the output paths
// of the derivation. It returns false if an input is missing or an output path is not known.
func replaceInput(t *testing.T, l derivation.Loader, changes map[storepath.Path]string, parent *derivation.Derivation, old storepath.Path, used derivation.InputOutputs, input *derivation.Derivation) bool {
	t.Helper()
	before := input.Outputs.Clone()
	if !recompute(t, l, input) {
		return false
	}
	path, err := input.Path()
	if err != nil {
		t.Fatal(err)
	}
	changes[path] = input.String()
	parent.InputDerivations.Delete(old)
	parent.InputDerivations.Set(path, used)
	for name, o := range input.Outputs.All() {
		was, _ := before.Get(name)
		from, to := string(was.Path()), string(o.Path())
		if from == "" {
			p, _ := storepath.OutputPlaceholder(old, name)
			from = string(p)
		}
		if to == "" {
			p, _ := storepath.OutputPlaceholder(path, name)
			to = string(p)
		}
		for variable, value := range parent.Env.Clone().All() {
			parent.Env.Set(variable, strings.ReplaceAll(value, from, to))
		}
		for i := range parent.Args {
			parent.Args[i] = strings.ReplaceAll(parent.Args[i], from, to)
		}
	}
	return recompute(t, l, parent)
}

// recompute computes the output paths of a derivation again.
func recompute(t *testing.T, l derivation.Loader, d *derivation.Derivation) bool {
	t.Helper()
	d.Args = slices.Clone(d.Args)
	for name, o := range d.Outputs.Clone().All() {
		if o.Kind() == derivation.InputAddressed {
			d.Outputs.Set(name, derivation.DeferredOutput())
		}
		if kind := o.Kind(); (kind == derivation.InputAddressed || kind == derivation.Fixed) && d.Env.Has(name) {
			d.Env.Set(name, "")
		}
	}
	inputs, err := derivation.LoadInputHashes(t.Context(), l, d)
	if err != nil {
		return false
	}
	if err := d.FillOutputPaths(inputs, nil); err != nil {
		t.Errorf("%s: %v", d.Name, err)
		return false
	}
	return true
}
