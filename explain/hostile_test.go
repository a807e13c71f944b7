package explain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// A text of millions of backquotes is written as Markdown in linear time, in a fence that it cannot end.
func TestMarkdownBackquotes(t *testing.T) {
	for _, arg := range []string{strings.Repeat("`", 2<<20), "a ``` b", "`", "<b>|*_[x](y)&amp;\\`"} {
		e := explainArgument(t, arg)
		for line := range strings.Lines(string(e.AppendMarkdown(nil, true))) {
			if strings.Contains(line, arg) {
				checkCode(t, line)
			}
		}
	}
}

// checkCode checks that nothing of a line of Markdown is outside of code, except words of this package.
func checkCode(t *testing.T, line string) {
	t.Helper()
	for rest := line; ; {
		begin := strings.IndexByte(rest, '`')
		if begin < 0 {
			begin = len(rest)
		}
		if strings.ContainsAny(rest[:begin], "<>|*_[]&\\") {
			t.Errorf("there is markup outside of code: %.100q", rest[:begin])
		}
		if rest = rest[begin:]; rest == "" {
			return
		}
		fence := len(rest) - len(strings.TrimLeft(rest, "`"))
		for rest = rest[fence:]; ; {
			end := strings.IndexByte(rest, '`')
			if end < 0 {
				t.Errorf("the code in %.100q does not end", line)
				return
			}
			rest = rest[end:]
			run := len(rest) - len(strings.TrimLeft(rest, "`"))
			if rest = rest[run:]; run == fence {
				break
			}
		}
	}
}

// An explanation is equal to itself, also if it has several signatures by keys of one name and only one is valid.
func TestCompareSignaturesOfOneName(t *testing.T) {
	info, keys := signedInfo(t)
	e, err := explain.Signature(info, keys)
	if err != nil {
		t.Fatal(err)
	}
	if first := explain.Compare(e, e).First(); first != nil {
		t.Errorf("an explanation differs from itself in %+v", first)
	}
	other, err := explain.Signature(info, signature.KeySet{"other-1": keys["other-1"]})
	if err != nil {
		t.Fatal(err)
	}
	c := explain.Compare(e, other)
	first := c.First()
	if first == nil || first.Output != "good-1" || first.Results != [2]string{"valid", "unknown"} {
		t.Errorf("the first difference is %+v", first)
	}
	if text := string(c.AppendText(nil, nil)); !strings.Contains(text, "A signature (good-1): has another result\n   - valid\n   + unknown\n") {
		t.Errorf("the text is %s", text)
	}
}

// Names with bytes that are not UTF-8 stay different in JSON.
func TestJSONOfInvalidNames(t *testing.T) {
	d := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	d.Env.Set("a\xfe", "1")
	d.Env.Set("a\xff", "2")
	d.Env.Set("ä\x1b", "3")
	path, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: texts{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Steps []struct{ Inputs []struct{ Name string } }
	}
	if err := json.Unmarshal(b, &parsed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, in := range parsed.Steps[0].Inputs {
		names = append(names, in.Name)
	}
	for _, want := range []string{`variable a\xfe`, `variable a\xff`, "variable ä\x1b"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no name %q in %q", want, names)
		}
	}
}

// A digest of 32 digits in base 16 is an MD5, although most such texts are also a SHA-1 in base 32. Other readings are named.
func TestHashOfSeveralKinds(t *testing.T) {
	for text, want := range map[string]struct{ kind, note string }{
		"0123456789abcdf00123456789abcdf0":         {"md5 hash", "it could also be a sha1 digest"},
		"d41d8cd98f00b204e9800998ecf8427e":         {"md5 hash", ""},
		"0123456789zzzzz00123456789abcdf0":         {"sha1 hash", ""},
		strings.Repeat("0", 64):                    {"sha256 hash", "it could also be a blake3 digest"},
		"sha256:" + strings.Repeat("0", 64):        {"sha256 hash", ""},
		"da39a3ee5e6b4b0d3255bfef95601890afd80709": {"sha1 hash", ""},
		strings.Repeat("0", 52):                    {"sha256 hash", "it could also be a blake3 digest"},
		strings.Repeat("0", 26):                    {"md5 hash", ""},
	} {
		e, err := explain.Hash(text)
		if err != nil {
			t.Fatal(text, err)
		}
		recompute(t, e)
		if in := stepOf(t, e, explain.StepDigest, "").Inputs[0]; e.Kind != want.kind || in.Note != want.note {
			t.Errorf("%s: kind %q, note %q", text, e.Kind, in.Note)
		}
	}
}

// The outputs of an input are listed as in Nix, also the outputs of dynamic derivations.
func TestFieldsOfInputs(t *testing.T) {
	const input = "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-in.drv"
	d := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	used := derivation.OutputsOf("dev", "out")
	used.Dynamic.Set("drv", derivation.OutputsOf("lib"))
	d.InputDerivations.Set(input, used)
	l := texts{input: `Derive([("dev","","r:sha256",""),("drv","","text:sha256",""),("out","","r:sha256","")],[],[],"x","y",[],[])`}
	path, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: l}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var inputs []string
	for _, in := range stepOf(t, e, explain.StepFields, "").Inputs {
		if in.Name == "input derivation" {
			inputs = append(inputs, in.Value)
		}
	}
	if got, want := strings.Join(inputs, " "), input+"^dev,out "+input+"^drv^lib"; got != want {
		t.Errorf("the inputs are %s, want %s", got, want)
	}
}

// The text of a .drv file that is not canonical is explained as it is.
func TestTextNotCanonical(t *testing.T) {
	text := strings.Replace(greetingText, `("name","greeting"),("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting")`,
		`("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting"),("name","greeting")`, 1)
	d, err := derivation.ParseAt(greetingPath, text)
	if err != nil || d.String() != greetingText {
		t.Fatal(d, err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: greetingPath, Derivation: d, Inputs: texts{}}, &explain.DerivationOptions{Text: text})
	if err != nil {
		t.Fatal(err)
	}
	if s := stepOf(t, e, explain.StepText, ""); s.Text != text || len(e.Problems) != 2 {
		t.Errorf("the text is %q, problems %q", s.Text, e.Problems)
	}
	recompute(t, e)
}

// A script reads its files also if the name of the directory begins with a dash.
func TestScriptWithDash(t *testing.T) {
	e, err := explain.NAR("archive", bytes.NewReader(archive(t, 70_000)))
	if err != nil {
		t.Fatal(err)
	}
	script, err := e.Script("-n")
	if err != nil || !strings.Contains(script.Text, `cat -- "$dir/`) {
		t.Errorf("%v: %s", err, script.Text)
	}
}

// A store that says that a directory or an executable is a flat file is wrong.
func TestContentsOfAnotherKind(t *testing.T) {
	info := infoOf(t, contentPaths[3].path, contentPaths[3].ca, nil)
	var executable bytes.Buffer
	w := nar.NewWriter(&executable)
	if err := w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: 11, Executable: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello world")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{archive(t, 5), executable.Bytes()} {
		e, err := explain.Path(info, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Problems) != 1 || !strings.Contains(e.Problems[0], "is not a plain file") {
			t.Errorf("the problems are %q", e.Problems)
		}
	}
	var plain bytes.Buffer
	if err := nar.WriteFile(&plain, strings.NewReader("hello world"), 11); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{plain.Bytes()[:plain.Len()-8], append(plain.Bytes(), 0, 0, 0, 0, 0, 0, 0, 0)} {
		if e, err := explain.Path(info, bytes.NewReader(b)); err == nil {
			t.Errorf("an archive of %d bytes is explained: %+v", len(b), e)
		}
	}
}

// A lyingStore answers every query with what it has.
type lyingStore struct {
	store.Store // for the methods that are not called
	outputs     map[string]storepath.Path
	info        *store.PathInfo
}

func (s *lyingStore) QueryDerivationOutputMap(_ context.Context, _ storepath.Path) (map[string]storepath.Path, error) {
	return s.outputs, nil
}

func (s *lyingStore) QueryPathInfo(context.Context, storepath.Path) (*store.PathInfo, error) {
	return s.info, nil
}

// A store whose floating output has another name, another method or no content address is wrong.
func TestBuiltByLyingStore(t *testing.T) {
	d := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	drv, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method  storepath.Method
		name    string
		problem string
	}{
		"right":          {storepath.NAR, "x", ""},
		"another name":   {storepath.NAR, "y", "the path of the built output 'out'"},
		"another method": {storepath.Flat, "x", "the method and algorithm of the built output 'out'"},
		"no address":     {0, "x", "the built output 'out' has no content address"},
	} {
		info := &store.PathInfo{Path: "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-x"}
		if c.method != 0 {
			if info.CA, err = storepath.NewContentAddress(c.method, nixhash.Sum(nixhash.SHA256, nil)); err != nil {
				t.Fatal(err)
			}
			if info.Path, err = d.Dir.FixedOutputPath(c.name, info.CA, storepath.References{}); err != nil {
				t.Fatal(err)
			}
		}
		s := &lyingStore{outputs: map[string]storepath.Path{"out": info.Path}, info: info}
		e, err := explain.Derivation(t.Context(), explain.Drv{Path: drv, Derivation: d, Inputs: texts{}}, &explain.DerivationOptions{Store: s})
		if err != nil {
			t.Fatal(name, err)
		}
		if got := strings.Join(e.Problems, "\n"); (got == "") != (c.problem == "") || !strings.Contains(got, c.problem) {
			t.Errorf("%s: the problems are %q", name, e.Problems)
		}
	}
}

// A store that has built a deferred derivation to another path than the one that follows from the resolved derivation is wrong.
func TestDeferredByLyingStore(t *testing.T) {
	f := fakePackages{t, texts{}}
	d := &derivation.Derivation{Name: "in", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	tool := f.add("tool", "1", f.finish(d))
	const lie = "/nix/store/acxzy3nc993rxfcmisqxip072179gjfp-in"
	s := &lyingStore{outputs: map[string]storepath.Path{"out": lie}}
	e, err := explain.Derivation(t.Context(), tool, &explain.DerivationOptions{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	computed := stepOf(t, e, explain.StepPath, "out").Result
	if want := "the path of the built output 'out' is '" + computed + "', but '" + lie + "' is recorded"; !slices.Equal(e.Problems, []string{want}) {
		t.Errorf("the problems are %q, want %q", e.Problems, want)
	}
}
