package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A golden says what a file of golden data holds.
type golden struct {
	params Params
	// values decodes the values that the file holds, n of them, returns them as JSON
	// has them, and encodes them again.
	values func(p Params, in *wire.Reader, n int) (json []any, again []byte, err error)
	// readOnly says why Nix does not write the file.
	readOnly string
	// want changes what the .json has, where it says more than the wire.
	want func(any) any
}

// of returns a golden of values of one type.
func of[T any](version uint8, code func(*codec, *T), toJSON func(T) any) golden {
	return golden{
		params: Params{Version: MakeVersion(version), Dir: storepath.DefaultDir},
		values: func(p Params, in *wire.Reader, n int) (values []any, again []byte, err error) {
			for range n {
				var v T
				dec := codec{Params: p, in: in, part: "golden"}
				if code(&dec, &v); dec.err != nil {
					return values, again, dec.err
				}
				values = append(values, toJSON(v))
				enc := codec{Params: p, part: "golden"}
				if code(&enc, &v); enc.err != nil {
					return values, again, enc.err
				}
				again = append(again, enc.out...)
				if err := throughTrace(p, code, v); err != nil {
					return values, again, err
				}
			}
			return values, again, nil
		},
	}
}

// throughTrace shows a value in a trace, and reads it from there.
func throughTrace[T any](p Params, code func(*codec, *T), v T) error {
	written := p.newTrace("golden", -1)
	code(&written, &v)
	line := written.line()
	in := p.readTrace(line)
	in.part = "golden"
	in.nameIs("golden")
	var got T
	if code(&in, &got); !in.end() {
		return in.err
	}
	if !reflect.DeepEqual(got, v) {
		return fmt.Errorf("%s is read as %+v instead of %+v", line, got, v)
	}
	return nil
}

func (g golden) with(f Features) golden            { g.params.Features = f; return g }
func (g golden) notWritten(why string) golden      { g.readOnly = why; return g }
func (g golden) wanting(f func(any) any) golden    { g.want = f; return g }
func plainString(s string) any                     { return s }
func pathJSON(p storepath.Path) any                { return p.Base() }
func derivedPathJSON(p derivation.DerivedPath) any { return p }

func optionalPathJSON(p storepath.Path) any {
	if p == "" {
		return nil
	}
	return p.Base()
}

func caJSON(ca storepath.ContentAddress) any {
	if ca.IsZero() {
		return nil
	}
	return map[string]any{"method": ca.Method().String(), "hash": ca.Hash().SRI()}
}

func drvOutputJSON(id store.DrvOutput) any {
	if !id.Hash.IsZero() {
		return id.HashID()
	}
	return map[string]any{"drvPath": id.Path.Base(), "outputName": id.Output}
}

func signaturesJSON(signatures []string) any {
	l := []any{}
	for _, s := range signatures {
		name, sig, _ := strings.Cut(s, ":")
		l = append(l, map[string]any{"keyName": name, "sig": sig})
	}
	return l
}

func basesJSON(paths []storepath.Path) any {
	l := []any{}
	for _, p := range paths {
		l = append(l, p.Base())
	}
	return l
}

func realisationJSON(r store.Realisation) any {
	return map[string]any{"outPath": r.OutPath.Base(), "signatures": signaturesJSON(r.Signatures)}
}

func keyedRealisationJSON(r store.KeyedRealisation) any {
	if r.ID.Hash.IsZero() {
		return map[string]any{"key": drvOutputJSON(r.ID), "value": realisationJSON(r.Realisation)}
	}
	m := realisationJSON(r.Realisation).(map[string]any)
	m["id"] = drvOutputJSON(r.ID)
	return m
}

// withoutDependent takes out of a realisation what Nix no longer reads.
func withoutDependent(v any) any {
	m := v.(map[string]any)
	delete(m, "dependentRealisations")
	if l, _ := m["signatures"].([]any); len(l) > 0 {
		if _, isText := l[0].(string); isText {
			var signatures []string
			for _, s := range l {
				signatures = append(signatures, s.(string))
			}
			m["signatures"] = signaturesJSON(signatures)
		}
	}
	return m
}

// newSignatures gives the signatures of a build's outputs the form that Nix has today.
func newSignatures(v any) any {
	outputs, _ := v.(map[string]any)["builtOutputs"].(map[string]any)
	for _, o := range outputs {
		withoutDependent(o)
	}
	return v
}

func pathInfoJSON(info store.PathInfo) any {
	return map[string]any{
		"ca": caJSON(info.CA), "deriver": optionalPathJSON(info.Deriver), "narHash": info.NARHash.SRI(),
		"narSize": info.NARSize, "references": basesJSON(info.References),
		"registrationTime": info.RegistrationTime.Unix(), "signatures": signaturesJSON(info.Signatures),
		"storeDir": "/nix/store", "ultimate": info.Ultimate, "version": 3,
	}
}

func keyedPathInfoJSON(info store.PathInfo) any {
	m := pathInfoJSON(info).(map[string]any)
	m["path"] = info.Path.Base()
	return m
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func buildResultJSON(r store.BuildResult) any {
	m := map[string]any{
		"status": r.Status.String(), "success": r.Status.Succeeded(), "timesBuilt": r.TimesBuilt,
		"startTime": seconds(r.Start), "stopTime": seconds(r.Stop),
	}
	if r.CPUUser != nil {
		m["cpuUser"] = r.CPUUser.Microseconds()
	}
	if r.CPUSystem != nil {
		m["cpuSystem"] = r.CPUSystem.Microseconds()
	}
	if !r.Status.Succeeded() {
		m["errorMsg"], m["isNonDeterministic"] = r.Message, r.NonDeterministic
		return m
	}
	outputs := map[string]any{}
	for name, o := range r.Outputs {
		outputs[name] = realisationJSON(o)
		if !r.DrvHash.IsZero() {
			outputs[name] = keyedRealisationJSON(store.KeyedRealisation{ID: store.DrvOutput{Hash: r.DrvHash, Output: name}, Realisation: o})
		}
	}
	m["builtOutputs"] = outputs
	return m
}

func keyedBuildResultJSON(r store.KeyedBuildResult) any {
	m := buildResultJSON(r.BuildResult).(map[string]any)
	m["path"] = r.Path
	return m
}

func trustJSON(t Trust) any {
	return map[Trust]any{TrustUnknown: nil, Trusted: true, NotTrusted: false}[t]
}

func stringCode(c *codec, s *string)               { c.string("string", s) }
func pathCode(c *codec, p *storepath.Path)         { c.path("path", p) }
func optionalPathCode(c *codec, p *storepath.Path) { c.optionalPath("path", p) }
func caCode(c *codec, ca *storepath.ContentAddress) {
	if c.optionalContentAddress("ca", ca); c.err == nil && ca.IsZero() {
		c.fail("ca", c.offset(), errors.New("there is none"))
	}
}
func optionalCACode(c *codec, ca *storepath.ContentAddress)    { c.optionalContentAddress("ca", ca) }
func drvOutputCode(c *codec, id *store.DrvOutput)              { c.drvOutput("output", id) }
func keyedRealisationCode(c *codec, r *store.KeyedRealisation) { c.keyedRealisation("realisation", r) }
func trustCode(c *codec, t *Trust)                             { number(c, "trust", t, uint64(NotTrusted)) }

// A nested is a list or set of strings, or of such: the golden data has both.
type nested struct {
	strings []string
	lists   [][]string
}

func nestedJSON(n nested) any {
	if n.lists != nil {
		return n.lists
	}
	return append([]string{}, n.strings...)
}

// lists returns a golden of three lists of strings and one list of lists, each list
// coded by code.
func lists(code func(c *codec, l *[]string)) golden {
	i := 0
	return of(18, func(c *codec, n *nested) {
		if c.in != nil {
			i++
		}
		if i < 4 {
			code(c, &n.strings)
			return
		}
		list(c, "lists", &n.lists, func(l *[]string) {
			if code(c, l); *l == nil {
				*l = []string{}
			}
		})
	}, nestedJSON)
}

func vectorCode(c *codec, l *[]string) {
	list(c, "list", l, func(s *string) { c.string("element", s) })
}
func setCode(c *codec, l *[]string) { c.stringSet("set", l) }

// goldens has an entry for each file that has a .json, by the name that the .bin has
// too.
func goldens() map[string]golden {
	const interim = "Nix wrote signatures as objects only between 2.34 and the feature that ended JSON on the wire"
	common := map[string]golden{
		"string":                   of(18, stringCode, plainString),
		"store-path":               of(18, pathCode, pathJSON),
		"content-address":          of(18, caCode, caJSON),
		"optional-store-path":      of(18, optionalPathCode, optionalPathJSON),
		"optional-content-address": of(18, optionalCACode, caJSON),
		"drv-output":               of(31, drvOutputCode, drvOutputJSON),
		"realisation":              of(31, keyedRealisationCode, keyedRealisationJSON).wanting(withoutDependent).notWritten(interim),
		"realisation-with-deps":    of(31, keyedRealisationCode, keyedRealisationJSON).wanting(withoutDependent).notWritten("Nix no longer has dependent realisations"),
	}
	all := map[string]golden{}
	for name, g := range common {
		all["common-protocol/"+name], all["worker-protocol/"+name] = g, g
	}
	for _, dir := range []string{"common-protocol/", "worker-protocol/"} {
		all[dir+"vector"], all[dir+"set"] = lists(vectorCode), lists(setCode)
	}
	pathInfo, keyedPathInfo := (*codec).pathInfo, (*codec).keyedPathInfo
	buildResult, keyedBuildResult := (*codec).buildResult, (*codec).keyedBuildResult
	for name, g := range map[string]golden{
		"build-mode":                   of(18, (*codec).buildMode, func(m store.BuildMode) any { return m }),
		"optional-trusted-flag":        of(35, trustCode, trustJSON),
		"derived-path-1.29":            of(29, (*codec).derivedPath, derivedPathJSON),
		"derived-path-1.30":            of(30, (*codec).derivedPath, derivedPathJSON),
		"unkeyed-valid-path-info-1.15": of(15, pathInfo, pathInfoJSON),
		"valid-path-info-1.15":         of(15, keyedPathInfo, keyedPathInfoJSON),
		"valid-path-info-1.16":         of(16, keyedPathInfo, keyedPathInfoJSON),
		"build-result-1.27":            of(27, buildResult, buildResultJSON),
		"build-result-1.28":            of(28, buildResult, buildResultJSON).wanting(newSignatures),
		"build-result-1.29":            of(29, buildResult, buildResultJSON).wanting(newSignatures),
		"build-result-1.29-compat":     of(29, buildResult, buildResultJSON),
		"build-result-1.37":            of(37, buildResult, buildResultJSON).wanting(newSignatures),
		"keyed-build-result-1.29":      of(29, keyedBuildResult, keyedBuildResultJSON),

		"build-result-realisation-with-path-not-hash":        of(38, buildResult, buildResultJSON).with(RealisationWithPath),
		"drv-output-realisation-with-path-not-hash":          of(38, drvOutputCode, drvOutputJSON).with(RealisationWithPath),
		"realisation-realisation-with-path-not-hash":         of(38, keyedRealisationCode, keyedRealisationJSON).with(RealisationWithPath),
		"unkeyed-realisation-realisation-with-path-not-hash": of(38, (*codec).realisation, realisationJSON).with(RealisationWithPath),
	} {
		all["worker-protocol/"+name] = g
	}
	return all
}

// Every file of the golden data is decoded, compared with the value that Nix says it
// stands for, and encoded again to the same bytes where Nix writes it.
func TestGolden(t *testing.T) {
	dir := testenv.NixData(t, "store")
	handshakes := map[string]bool{ // see TestGoldenHandshake; they have no .json
		"handshake-to-client": true, "client-handshake-info_1_30": true,
		"client-handshake-info_1_33": true, "client-handshake-info_1_35": true,
	}
	cases := goldens()
	for _, sub := range []string{"common-protocol", "worker-protocol"} {
		files, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name, ext := strings.TrimSuffix(file.Name(), filepath.Ext(file.Name())), filepath.Ext(file.Name())
			if _, ok := cases[sub+"/"+name]; ok && (ext == ".bin" || ext == ".json") || handshakes[name] {
				continue
			}
			t.Errorf("nothing tests %s/%s", sub, file.Name())
		}
	}
	for name, g := range cases {
		t.Run(name, func(t *testing.T) { g.test(t, filepath.Join(dir, name)) })
	}
}

func (g golden) test(t *testing.T, file string) {
	bin, err := os.ReadFile(file + ".bin")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var parsed any
	if err := json.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	want, isList := parsed.([]any)
	if !isList {
		want = []any{parsed}
	}
	if g.want != nil {
		for i := range want {
			want[i] = g.want(want[i])
		}
	}
	in := wire.NewReader(bytes.NewReader(bin), 0)
	values, again, err := g.values(g.params, in, len(want))
	if err != nil {
		t.Fatal(err)
	}
	if in.Peek() != io.EOF {
		t.Errorf("something follows at %d of %d bytes", in.Offset(), len(bin))
	}
	if filepath.Base(file) == "string" { // its .json ends at a NUL that the string has
		last := len(values) - 1
		values[last], _, _ = strings.Cut(values[last].(string), "\x00")
	}
	if got := normalJSON(t, values); !reflect.DeepEqual(got, any(want)) {
		t.Errorf("decoded\n%v\ninstead of\n%v", got, want)
	}
	if g.readOnly == "" && !bytes.Equal(again, bin) {
		t.Errorf("encoded\n%q\ninstead of\n%q", again, bin)
	}
	if g.readOnly != "" {
		g.testReadAgain(t, again, values)
	}
}

// testReadAgain checks that what Nix would not write this way is still the same value
// when it was encoded.
func (g golden) testReadAgain(t *testing.T, again []byte, want []any) {
	values, _, err := g.values(g.params, wire.NewReader(bytes.NewReader(again), 0), len(want))
	if err != nil || !reflect.DeepEqual(values, want) {
		t.Errorf("encoded and decoded again\n%v\ninstead of\n%v: %v", values, want, err)
	}
}

func normalJSON(t *testing.T, v any) (normal any) {
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &normal)
	}
	if err != nil {
		t.Fatal(err)
	}
	return normal
}

// A realisation is sent as Nix 2.34 sends it, and not as the golden data of its
// successor has it: with signatures as strings, which is all that older daemons take.
func TestRealisationJSON(t *testing.T) {
	hash := nixhash.Sum(nixhash.SHA256, []byte("drv"))
	r := store.KeyedRealisation{
		ID:          store.DrvOutput{Hash: hash, Output: "out"},
		Realisation: store.Realisation{OutPath: testPath, Signatures: []string{"b:<&>", "a:AA=="}},
	}
	c := codec{Params: Params{Version: MaxVersion, Dir: storepath.DefaultDir}}
	c.keyedRealisation("realisation", &r)
	want := `{"dependentRealisations":{},"id":"sha256:` + hash.Base16() + `!out","outPath":"` + testPath.Base() +
		`","signatures":["a:AA==","b:<&>"]}`
	if got := string(c.out); c.err != nil || got != string(wire.AppendString(nil, want)) {
		t.Errorf("%v\n%q\ninstead of\n%q", c.err, got, want)
	}
}

// The greetings of the golden data are those that are sent and understood.
func TestGoldenHandshake(t *testing.T) {
	dir := filepath.Join(testenv.NixData(t, "store"), "worker-protocol")
	for file, g := range map[string]golden{
		"client-handshake-info_1_30": of(30, (*codec).greeting, greetingJSON),
		"client-handshake-info_1_33": of(33, (*codec).greeting, greetingJSON),
		"client-handshake-info_1_35": of(35, (*codec).greeting, greetingJSON),
	} {
		want := map[string][]any{
			"client-handshake-info_1_30": {Greeting{}, Greeting{}},
			"client-handshake-info_1_33": {Greeting{NixVersion: "foo"}, Greeting{NixVersion: "bar"}},
			"client-handshake-info_1_35": {Greeting{NixVersion: "foo", Trust: NotTrusted}, Greeting{NixVersion: "bar", Trust: Trusted}},
		}[file]
		bin, err := os.ReadFile(filepath.Join(dir, file+".bin"))
		if err != nil {
			t.Fatal(err)
		}
		in := wire.NewReader(bytes.NewReader(bin), 0)
		got, again, err := g.values(g.params, in, len(want))
		if err != nil || !reflect.DeepEqual(got, want) || !bytes.Equal(again, bin) || in.Peek() != io.EOF {
			t.Errorf("%s: %v, %v, %q", file, err, got, again)
		}
	}

	// A daemon of 1.10 greets; it is too old to go on with.
	bin, err := os.ReadFile(filepath.Join(dir, "handshake-to-client.bin"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = ClientHandshake(wire.NewReader(bytes.NewReader(bin), 0), io.Discard, storepath.DefaultDir)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), "1.10") {
		t.Errorf("the handshake with a daemon of 1.10: %v", err)
	}
	client := wire.AppendUint64(wire.AppendUint64(nil, clientMagic), uint64(MaxVersion))
	client = append(client, make([]byte, 16)...)
	var out bytes.Buffer
	if _, err := ServerHandshake(wire.NewReader(bytes.NewReader(client), 0), &out, storepath.DefaultDir, Greeting{DaemonVersion: MakeVersion(10)}, 0); err != nil || !bytes.Equal(out.Bytes(), bin) {
		t.Errorf("a server of 1.10 says %q, %v", out.Bytes(), err)
	}
}

func greetingJSON(g Greeting) any { return g }

const testPath storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"
