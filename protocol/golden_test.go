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

	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// A golden describes a file of golden data.
type golden struct {
	params Params
	// values decodes the n values of the file, returns them in their JSON form, and encodes
	// them again.
	values func(p Params, in *wire.Reader, n int) (json []any, again []byte, err error)
	// readOnly is the reason why Nix does not write the file.
	readOnly string
	// want changes the value of the .json file if that has more than the wire.
	want func(any) any
}

// of returns a golden for values of one type.
func of[T any](version uint8, code func(*codec, *T), toJSON func(T) any) golden {
	return golden{
		params: Params{Version: MakeVersion(version), Dir: storepath.DefaultDir},
		values: func(p Params, in *wire.Reader, n int) (values []any, again []byte, err error) {
			for range n {
				var v T
				dec := p.decoder(in, 0, "golden")
				if code(dec, &v); dec.err != nil {
					return values, again, dec.err
				}
				values = append(values, toJSON(v))
				enc, form := p.encoder(nil, 0, "golden")
				if code(enc, &v); enc.err != nil {
					return values, again, enc.err
				}
				again = append(again, form.out...)
				if err := throughTrace(p, code, v); err != nil {
					return values, again, err
				}
			}
			return values, again, nil
		},
	}
}

// throughTrace writes a value to a trace and checks that it is read from there unchanged.
func throughTrace[T any](p Params, code func(*codec, *T), v T) error {
	enc, text := p.traceEncoder("golden", -1)
	code(enc, &v)
	line := text.line(enc.err)
	dec, form := p.traceDecoder(line)
	dec.expectWord(form, "golden")
	var got T
	if code(dec, &got); !dec.traceEnd(form) {
		return dec.err
	}
	if !reflect.DeepEqual(got, v) {
		return fmt.Errorf("%s is read as %+v instead of %+v", line, got, v)
	}
	return nil
}

func (g golden) with(f Features) golden         { g.params.Features = f; return g }
func (g golden) notWritten(why string) golden   { g.readOnly = why; return g }
func (g golden) wanting(f func(any) any) golden { g.want = f; return g }

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func stringCode(c *codec, s *string)               { c.string("string", s) }
func pathCode(c *codec, p *storepath.Path)         { c.path("path", p) }
func optionalPathCode(c *codec, p *storepath.Path) { c.optionalPath("path", p) }
func caCode(c *codec, ca *storepath.ContentAddress) {
	if c.optionalContentAddress("ca", ca); c.err == nil && ca.IsZero() {
		c.fail("ca", errors.New("it is missing"))
	}
}
func optionalCACode(c *codec, ca *storepath.ContentAddress)    { c.optionalContentAddress("ca", ca) }
func drvOutputCode(c *codec, id *store.DrvOutput)              { c.drvOutput("output", id) }
func keyedRealisationCode(c *codec, r *store.KeyedRealisation) { c.keyedRealisation("realisation", r) }
func trustCode(c *codec, t *Trust)                             { number(c, "trust", t, uint64(NotTrusted)) }

// A nested is a list of strings, or a list of such lists.
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

// lists returns a golden of three lists of strings and one list of lists. code codes each list
// of strings.
func lists(code func(c *codec, l *[]string)) golden {
	i := 0
	return of(18, func(c *codec, n *nested) {
		if c.decoding && !c.form.isText() {
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

// goldens returns an entry for each .json file, keyed by the name that it shares with its .bin
// file.
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

// Each file of the golden data is decoded and compared with its JSON form. If Nix writes such
// files, the value is encoded again to the same bytes.
func TestGolden(t *testing.T) {
	dir := testenv.NixData(t, "store")
	handshakes := map[string]bool{ // they have no .json: see TestGoldenHandshake
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
			t.Errorf("%s/%s is not tested", sub, file.Name())
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
		t.Errorf("decoded only %d of %d bytes", in.Offset(), len(bin))
	}
	if filepath.Base(file) == "string" { // its .json ends at the NUL in the string
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

// testReadAgain checks that a value that Nix would encode differently is decoded unchanged.
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

// A realisation is sent in the form of Nix 2.34: its signatures are strings, since older
// daemons accept only strings. The golden data has a newer form.
func TestRealisationJSON(t *testing.T) {
	hash := nixhash.Sum(nixhash.SHA256, []byte("drv"))
	r := store.KeyedRealisation{
		ID:          store.DrvOutput{Hash: hash, Output: "out"},
		Realisation: store.Realisation{OutPath: testPath, Signatures: []string{"b:<&>", "a:AA=="}},
	}
	c, form := Params{Version: MaxVersion, Dir: storepath.DefaultDir}.encoder(nil, 0, "golden")
	c.keyedRealisation("realisation", &r)
	want := `{"dependentRealisations":{},"id":"sha256:` + hash.Base16() + `!out","outPath":"` + testPath.Base() +
		`","signatures":["a:AA==","b:<&>"]}`
	if got := string(form.out); c.err != nil || got != string(wire.AppendString(nil, want)) {
		t.Errorf("%v\n%q\ninstead of\n%q", c.err, got, want)
	}
}

// The greetings of the golden data are decoded, and encoded to the same bytes.
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

	// A daemon of 1.10 is too old.
	bin, err := os.ReadFile(filepath.Join(dir, "handshake-to-client.bin"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = ClientHandshake(wire.NewReader(bytes.NewReader(bin), 0), io.Discard, storepath.DefaultDir)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), "1.10") {
		t.Errorf("handshake with a daemon of 1.10: %v", err)
	}
	client := wire.AppendUint64(wire.AppendUint64(nil, clientMagic), uint64(MaxVersion))
	client = append(client, make([]byte, 16)...)
	var out bytes.Buffer
	if _, err := ServerHandshake(wire.NewReader(bytes.NewReader(client), 0), &out, storepath.DefaultDir, Greeting{DaemonVersion: MakeVersion(10)}, 0); err != nil || !bytes.Equal(out.Bytes(), bin) {
		t.Errorf("a server of 1.10 sends %q, %v", out.Bytes(), err)
	}
}

func greetingJSON(g Greeting) any { return g }

const testPath storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo"
