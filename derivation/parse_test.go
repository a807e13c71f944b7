package derivation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

const digits = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q"

// p returns a store path with the given name.
func p(name string) storepath.Path {
	path, err := storepath.DefaultDir.ParseBase(digits + "-" + name)
	if err != nil {
		panic(err)
	}
	return path
}

// text replaces %A, %B, … by store paths with these names in lower case.
func text(s string) string {
	for _, c := range "ABCG" {
		dir := "/nix/store/"
		if c == 'G' {
			dir = "/gnu/store/"
		}
		s = strings.ReplaceAll(s, "%"+string(c), dir+digits+"-"+strings.ToLower(string(c)))
	}
	return s
}

const (
	zeros  = "0000000000000000000000000000000000000000000000000000000000000000"
	abcHex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)

// accepted are texts that Nix 2.34.8 accepts. means is the canonical text with the same meaning.
// notCanonical is the reason why the text is not canonical, or "" if it is.
var accepted = []struct{ what, text, means, notCanonical string }{
	{"the minimum", `Derive([("out","","","")],[],[],"","",[],[])`, "", ""},
	{"bytes after the end", `Derive([("out","","","")],[],[],"","",[],[])x`, `Derive([("out","","","")],[],[],"","",[],[])`, "after the last parenthesis"},
	{"a line feed after the end", "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"\",\"\",[],[])\n", `Derive([("out","","","")],[],[],"","",[],[])`, "after the last parenthesis"},
	{"no commas between strings", `Derive([("out","","","")],[],[],"","",["a""b""c"],[])`, `Derive([("out","","","")],[],[],"","",["a","b","c"],[])`, "no comma"},
	{"no commas between variables", `Derive([("out","","","")],[],[],"","",[],[("a","1")("b","2")])`, `Derive([("out","","","")],[],[],"","",[],[("a","1"),("b","2")])`, "no comma"},
	{"a comma first", `Derive([("out","","","")],[],[],"","",[,"a"],[])`, `Derive([("out","","","")],[],[],"","",["a"],[])`, "comma before the first"},
	{"a comma first in each list", text(`Derive([,("out","","","")],[,("%A.drv",[,"out"])],[,"%B"],"","",[],[,("a","")])`), text(`Derive([("out","","","")],[("%A.drv",["out"])],["%B"],"","",[],[("a","")])`), "comma before the first"},
	{"outputs out of order", text(`Derive([("out","%B","",""),("dev","%A","","")],[],[],"","",[],[])`), text(`Derive([("dev","%A","",""),("out","%B","","")],[],[],"","",[],[])`), "not sorted"},
	{"an output twice: the first", text(`Derive([("out","%B","",""),("out","%A","","")],[],[],"","",[],[])`), text(`Derive([("out","%B","","")],[],[],"","",[],[])`), "duplicate"},
	{"an input twice: the last", text(`Derive([("out","","","")],[("%A.drv",["x"]),("%A.drv",["y"])],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A.drv",["y"])],[],"","",[],[])`), "duplicate"},
	{"inputs out of order, one twice", text(`Derive([("out","","","")],[("%B.drv",["x"]),("%A.drv",["1"]),("%B.drv",["y"])],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A.drv",["1"]),("%B.drv",["y"])],[],"","",[],[])`), "not sorted"},
	{"output names out of order and twice", text(`Derive([("out","","","")],[("%A.drv",["y","x","y"]),("%B.drv",["out"])],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A.drv",["x","y"]),("%B.drv",["out"])],[],"","",[],[])`), "not sorted"},
	{"sources out of order and twice", text(`Derive([("out","","","")],[],["%B","%A","%B"],"","",[],[])`), text(`Derive([("out","","","")],[],["%A","%B"],"","",[],[])`), "not sorted"},
	{"a variable twice: the last", `Derive([("out","","","")],[],[],"","",[],[("a","1"),("a","2")])`, `Derive([("out","","","")],[],[],"","",[],[("a","2")])`, "duplicate"},
	{"variables out of order, three of one name", `Derive([("out","","","")],[],[],"","",[],[("b","1"),("a","2"),("b","3"),("b","4")])`, `Derive([("out","","","")],[],[],"","",[],[("a","2"),("b","4")])`, "not sorted"},
	{"no outputs", `Derive([],[],[],"","",[],[])`, `Derive([],[],[],"","",[],[])`, "at least one"},
	{"escapes", `Derive([("out","","","")],[],[],"","\"\\\n\r\t",["\"\\\n\r\t"],[("\"","\\")])`, "", ""},
	{"needless escapes", `Derive([("out","","","")],[],[],"","\a\$\0",[],[])`, `Derive([("out","","","")],[],[],"","a$0",[],[])`, "escaped unnecessarily"},
	{"a NUL and other control characters", "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"\",\"\x00\x01\x7f\x80\xff\",[],[])", "", ""},
	{"a raw tab", "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"\",\"a\tb\",[],[])", `Derive([("out","","","")],[],[],"","a\tb",[],[])`, "not escaped"},
	{"raw line feeds and escapes", "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"\",\"a\\tb\n\",[],[])", `Derive([("out","","","")],[],[],"","a\tb\n",[],[])`, "not escaped"},
	{"a raw tab in the platform", "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"a\tb\",\"\",[],[])", "", ""},
	{"an escape in the platform", `Derive([("out","","","")],[],[],"a\nb","",[],[])`, "Derive([(\"out\",\"\",\"\",\"\")],[],[],\"a\nb\",\"\",[],[])", "must not have escapes"},
	{"an escape in an output name", `Derive([("\out","","","")],[],[],"","",[],[])`, `Derive([("out","","","")],[],[],"","",[],[])`, "escape"},
	{"an escape in a path", text(`Derive([("out","","","")],[],["\%A"],"","",[],[])`), text(`Derive([("out","","","")],[],["%A"],"","",[],[])`), "escape"},
	{"hex in upper case", text(`Derive([("out","%A","sha256","` + strings.ToUpper(abcHex) + `")],[],[],"","",[],[])`), text(`Derive([("out","%A","sha256","` + abcHex + `")],[],[],"","",[],[])`), "lower-case hex"},
	{"base 32", text(`Derive([("out","%A","r:sha256","1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s")],[],[],"","",[],[])`), text(`Derive([("out","%A","r:sha256","` + abcHex + `")],[],[],"","",[],[])`), "lower-case hex"},
	{"base 64", text(`Derive([("out","%A","git:sha256","ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")],[],[],"","",[],[])`), text(`Derive([("out","%A","git:sha256","` + abcHex + `")],[],[],"","",[],[])`), "lower-case hex"},
	{"a hash without an algorithm", text(`Derive([("out","%A","","x")],[],[],"","",[],[])`), text(`Derive([("out","%A","","")],[],[],"","",[],[])`), "without an algorithm"},
	{"impure without an algorithm", `Derive([("out","","","impure")],[],[],"","",[],[])`, `Derive([("out","","","")],[],[],"","",[],[])`, "without an algorithm"},
	{"floating", `Derive([("out","","r:sha256","")],[],[],"","",[],[])`, "", ""},
	{"impure", `Derive([("out","","text:sha256","impure")],[],[],"","",[],[])`, "", ""},
	{"an invalid path of a fixed output", `Derive([("out","/x","sha256","` + zeros + `")],[],[],"","",[],[])`, `Derive([("out","/x","sha256","` + zeros + `")],[],[],"","",[],[])`, "fixed output is wrong"},
	{"a path of a fixed output in another store", text(`Derive([("out","%G","sha256","` + zeros + `")],[],["%A"],"","",[],[])`), text(`Derive([("out","%G","sha256","` + zeros + `")],[],["%A"],"","",[],[])`), "fixed output is wrong"},
	{"a path with empty and dot components", text(`Derive([("out","//nix/./store/x/../` + digits + `-a/","","")],[],[],"","",[],[])`), text(`Derive([("out","%A","","")],[],[],"","",[],[])`), "empty or dot components"},
	{"mixed kinds", text(`Derive([("a","%A","",""),("b","","","")],[],[],"","",[],[])`), text(`Derive([("a","%A","",""),("b","","","")],[],[],"","",[],[])`), "mix derivation output types"},
	{"two fixed outputs", text(`Derive([("out","%A","sha256","` + zeros + `"),("x","%A","sha256","` + zeros + `")],[],[],"","",[],[])`), text(`Derive([("out","%A","sha256","` + zeros + `"),("x","%A","sha256","` + zeros + `")],[],[],"","",[],[])`), "must be named"},
	{"a fixed output with another name", text(`Derive([("x","%A","sha256","` + zeros + `")],[],[],"","",[],[])`), text(`Derive([("x","%A","sha256","` + zeros + `")],[],[],"","",[],[])`), "must be named"},
	{"an invalid output name", `Derive([("a b","","","")],[],[],"","",[],[])`, `Derive([("a b","","","")],[],[],"","",[],[])`, "name of an output"},
	{"an output without a name", `Derive([("","","","")],[],[],"","",[],[])`, `Derive([("","","","")],[],[],"","",[],[])`, "name of an output"},
	{"an input that is not a derivation", text(`Derive([("out","","","")],[("%A",["out"])],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A",["out"])],[],"","",[],[])`), ""},
	{"an input without outputs", text(`Derive([("out","","","")],[("%A.drv",[])],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A.drv",[])],[],"","",[],[])`), "is used"},
	{"invalid JSON", `Derive([("out","","","")],[],[],"","",[],[("__json","{")])`, "", ""},
	{"an empty variable", `Derive([("out","","","")],[],[],"","",[],[("","")])`, "", ""},
	{"an unnecessary version", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",["out"])],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A.drv",["out"])],[],"","",[],[])`), "only for dynamic"},
	{"a version with an escape", text(`DrvWithVersion("xp\-dyn-drv",[("out","","","")],[("%A.drv",([],[("out",["out"])]))],[],"","",[],[])`), text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",([],[("out",["out"])]))],[],"","",[],[])`), "escape"},
	{"dynamic outputs", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",(["dev","out"],[("dev",["a"]),("out",([],[("x",["y","z"])]))]))],[],"","",[],[])`), "", ""},
	{"an empty list of dynamic outputs", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",(["out"],[]))],[],"","",[],[])`), text(`Derive([("out","","","")],[("%A.drv",["out"])],[],"","",[],[])`), "dynamic"},
	{"dynamic outputs out of order, one twice: the last", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",([],[("b",["1"]),("a",["2"]),("b",["3"])]))],[],"","",[],[])`), text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",([],[("a",["2"]),("b",["3"])]))],[],"","",[],[])`), "not sorted"},
	{"a dynamic output without used outputs", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",([],[("b",[])]))],[],"","",[],[])`), text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",([],[("b",[])]))],[],"","",[],[])`), "is used"},
}

func TestParseAccepts(t *testing.T) {
	for _, c := range accepted {
		means := c.means
		if means == "" {
			means = c.text
		}
		d, err := derivation.Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got := d.String(); got != means {
			t.Errorf("%s is parsed as\n%s\nwant\n%s", c.what, got, means)
		}
		_, err = derivation.ParseCanonical(c.text)
		var not *derivation.NotCanonicalError
		switch {
		case c.notCanonical == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.notCanonical != "" && (!errors.As(err, &not) || !strings.Contains(err.Error(), c.notCanonical)):
			t.Errorf("%s: %v, want %q in it", c.what, err, c.notCanonical)
		case c.notCanonical != "" && (not.Offset < 0 || not.Offset > len(c.text)):
			t.Errorf("%s: offset %d", c.what, not.Offset)
		}
	}
}

// rejected are texts that Nix 2.34.8 rejects, with the offset of the error.
var rejected = []struct {
	what, text string
	offset     int
	reason     string
}{
	{"nothing", "", 0, "not the text of a derivation"},
	{"something else", "hello", 0, "not the text of a derivation"},
	{"D", "D", 0, "not the text of a derivation"},
	{"another word", "Drive([])", 2, "expected `v"},
	{"no bracket", "Derive(", 7, "the text ends"},
	{"another version", `DrvWithVersion("xp-dyn-drv2",[],[],[],"","",[],[])`, 15, `unknown version "xp-dyn-drv2"`},
	{"a space", `Derive([ ("out","","","")],[],[],"","",[],[])`, 8, "found ' '"},
	{"a comma last", `Derive([("out","","",""),],[],[],"","",[],[])`, 25, "found ']'"},
	{"two commas", `Derive([("out","","","")],[],[],"","",["a",,"b"],[])`, 43, "found ','"},
	{"an output of three fields", `Derive([("out","","")],[],[],"","",[],[])`, 20, "found ')'"},
	{"no end", `Derive([("out","","","")],[],[],"","",[],[]`, 43, "the text ends"},
	{"no end of a list", `Derive([("out","","","")],[],[],"","",["a"`, 42, "the text ends"},
	{"a string without an end", `Derive([("out","","","")],[],[],"","`, 35, "does not end"},
	{"a string that ends in a backslash", `Derive([("out","","","")],[],[],"","a\`, 35, "does not end"},
	{"a string that ends in an escaped quote", `Derive([("out","","","")],[],[],"","a\"`, 35, "does not end"},
	{"an unescaped quote", `Derive([("out","","","")],[],[],"a"b","",[],[])`, 35, "found 'b'"},
	{"an escaped quote in the platform", `Derive([("out","","","")],[],[],"a\"b","",[],[])`, 32, "platform contains a quote"},
	{"an invalid input-addressed path", `Derive([("out","/x","","")],[],[],"","",[],[])`, 16, "is not valid"},
	{"a relative path", `Derive([("out","nix","","")],[],[],"","",[],[])`, 16, "bad path"},
	{"a path in a store path", text(`Derive([("out","%A/x","","")],[],[],"","",[],[])`), 16, "is not valid"},
	{"a source that is not a store path", `Derive([("out","","","")],[],["/nix/store"],"","",[],[])`, 31, "is not valid"},
	{"a store directory, after a path in it", text(`Derive([("out","%A","","")],[],["/nix/store/"],"","",[],[])`), 0, "is not valid"},
	{"an empty source", `Derive([("out","","","")],[],[""],"","",[],[])`, 31, "bad path"},
	{"an input that is not a store path", `Derive([("out","","","")],[("x",["out"])],[],"","",[],[])`, 29, "bad path"},
	{"two store directories", text(`Derive([("out","%A","","")],[("%G.drv",["out"])],[],"","",[],[])`), 0, "/gnu/store/" + digits + "-g.drv is not in the store directory /nix/store"},
	{"an illegal character in a path", text(`Derive([("out","%A~","","")],[],[],"","",[],[])`), 16, "illegal character"},
	{"an unknown algorithm", text(`Derive([("out","%A","sha3","` + zeros + `")],[],[],"","",[],[])`), 0, "unknown hash algorithm"},
	{"an unknown method", text(`Derive([("out","","nar:sha256","")],[],[],"","",[],[])`), 19, "unknown hash algorithm"},
	{"a method without an algorithm", `Derive([("out","","r:","")],[],[],"","",[],[])`, 19, "unknown hash algorithm"},
	{"a hash of another length", text(`Derive([("out","%A","sha256","00")],[],[],"","",[],[])`), 0, "wrong length"},
	{"a hash in SRI form", text(`Derive([("out","%A","sha256","sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=")],[],[],"","",[],[])`), 0, "wrong length"},
	{"a hash with its algorithm", text(`Derive([("out","%A","sha256","sha256:` + zeros + `")],[],[],"","",[],[])`), 0, "wrong length"},
	{"invalid hex", text(`Derive([("out","%A","sha256","` + zeros[1:] + `x")],[],[],"","",[],[])`), 0, "invalid byte"},
	{"a floating output with a path", text(`Derive([("out","%A","sha256","")],[],[],"","",[],[])`), 16, "has a path"},
	{"an impure output with a path", text(`Derive([("out","%A","sha256","impure")],[],[],"","",[],[])`), 16, "has a path"},
	{"a fixed output without a path", `Derive([("out","","sha256","` + zeros + `")],[],[],"","",[],[])`, 16, "bad path"},
	{"a fixed output with a relative path", `Derive([("out","x","sha256","` + zeros + `")],[],[],"","",[],[])`, 16, "bad path"},
	{"dynamic outputs in the old form", text(`Derive([("out","","","")],[("%A.drv",([],[("out",["out"])]))],[],"","",[],[])`), 0, "found '('"},
	{"dynamic outputs that are neither", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv","out")],[],"","",[],[])`), 0, "used outputs of an input are missing"},
	{"dynamic outputs without an end", text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",([],[("out",["out"])])`), 0, "the text ends"},
	{"a variable with three fields", `Derive([("out","","","")],[],[],"","",[],[("a","b","c")])`, 50, "found ','"},
}

func TestParseRejects(t *testing.T) {
	for _, c := range rejected {
		_, err := derivation.Parse(c.text)
		var syntax *derivation.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s: %v, want a SyntaxError", c.what, err)
			continue
		}
		if syntax.Offset != c.offset && c.offset > 0 || syntax.Offset > len(c.text) {
			t.Errorf("%s: offset %d, want %d", c.what, syntax.Offset, c.offset)
		}
		if !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q in it", c.what, err, c.reason)
		}
		if _, err := derivation.ParseCanonical(c.text); !errors.As(err, &syntax) {
			t.Errorf("%s, canonical: %v", c.what, err)
		}
		if _, err := derivation.ParseBytes([]byte(c.text)); !errors.As(err, &syntax) {
			t.Errorf("%s, as bytes: %v", c.what, err)
		}
	}
}

// Every truncated text is rejected, unless only bytes after the end are missing.
func TestTruncated(t *testing.T) {
	for _, c := range accepted {
		d, err := derivation.ParseCanonical(c.text)
		if err != nil {
			continue
		}
		for n := range len(d.String()) {
			if _, err := derivation.Parse(c.text[:n]); err == nil {
				t.Errorf("%s: accepted when truncated to %d bytes", c.what, n)
			}
		}
	}
}

// Hostile texts do not overflow the stack, and are parsed quickly.
func TestHostile(t *testing.T) {
	const n = 200_000
	dynamic := `DrvWithVersion("xp-dyn-drv",[],[("` + string(p("a.drv")) + `",`
	for what, text := range map[string]string{
		"parentheses":        "Derive([" + strings.Repeat("(", n),
		"brackets":           "Derive(" + strings.Repeat("[", n),
		"nested outputs":     dynamic + strings.Repeat(`([],[("out",`, n),
		"nested and closed":  dynamic + strings.Repeat(`([],[("out",`, n) + `["out"]` + strings.Repeat(")])", n) + `)],[],"","",[],[])`,
		"commas":             "Derive([" + strings.Repeat(",", n),
		"backslashes":        `Derive([],[],[],"","` + strings.Repeat(`\`, n+1) + `"`,
		"quotes and escapes": `Derive([],[],[],"","` + strings.Repeat(`\"`, n),
	} {
		if _, err := derivation.Parse(text); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	deep := text(`DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",`) + strings.Repeat(`([],[("out",`, 5000) + `["out"]` + strings.Repeat(")])", 5000) + `)],[],"","",[],[])`
	d, err := derivation.ParseCanonical(deep)
	if err != nil || d.Clone().String() != deep {
		t.Errorf("5000 levels: %v", err)
	}
}

func TestParseAt(t *testing.T) {
	d, err := derivation.ParseAt(p("x.drv"), text(`Derive([("out","%A","","")],[],[],"","",[],[])`))
	if err != nil || d.Name != "x" || d.Dir != "/nix/store" {
		t.Errorf("%+v, %v", d, err)
	}
	var bad *storepath.Error
	if _, err := derivation.ParseAt(p("x"), `Derive([("out","","","")],[],[],"","",[],[])`); !errors.As(err, &bad) {
		t.Errorf("a path that is not a derivation: %v", err)
	}
	var syntax *derivation.SyntaxError
	if _, err := derivation.ParseAt(p("x.drv"), text(`Derive([("out","%G","","")],[],[],"","",[],[])`)); !errors.As(err, &syntax) || !strings.Contains(err.Error(), "/nix/store") || !strings.Contains(err.Error(), "/gnu/store") {
		t.Errorf("another store directory: %v", err)
	}
	o := &derivation.ParseOptions{Dir: "/gnu/store", Canonical: true}
	if d, err := o.Parse(text(`Derive([("out","%G","","")],[],[],"","",[],[])`)); err != nil || d.Dir != "/gnu/store" {
		t.Errorf("the given directory: %v", err)
	}
	if d, err := derivation.Parse(text(`Derive([("out","%G","sha256","` + zeros + `")],[],[],"","",[],[])`)); err != nil || d.Dir != "/gnu/store" {
		t.Errorf("a fixed output determines the directory: %v, %v", d, err)
	}
}

func TestParseOutput(t *testing.T) {
	for _, c := range []struct {
		path, algo, hash string
		kind             derivation.OutputKind // 0 if it is rejected
	}{
		{string(p("x")), "", "", derivation.InputAddressed},
		{string(p("x")), "r:sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709", derivation.Fixed},
		{"", "git:sha1", "", derivation.Floating},
		{"", "md5", "impure", derivation.Impure},
		{"", "", "", derivation.Deferred},
		{"x", "", "", 0},
		{"", "sha256", "x", 0},
		{"/gnu/store/" + digits + "-x", "", "", 0},
	} {
		o, err := derivation.ParseOutput(storepath.DefaultDir, c.path, c.algo, c.hash)
		if c.kind != o.Kind() || (err != nil) != (c.kind == 0) {
			t.Errorf("%v: %v, %v", c, o.Kind(), err)
			continue
		}
		if c.kind != 0 && (string(o.Path()) != c.path || o.MethodAlgorithm() != c.algo || o.HashField() != c.hash) {
			t.Errorf("%v: the fields are %q, %q, %q", c, o.Path(), o.MethodAlgorithm(), o.HashField())
		}
	}
	var zero derivation.Output
	if zero.Kind() != 0 || zero.Path() != "" || zero.MethodAlgorithm() != "" || zero.HashField() != "" || !zero.ContentAddress().IsZero() {
		t.Error("the zero output has non-empty fields")
	}
}

// Parsing allocates one slice for each list, and one string for each string with escapes.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools lose their contents under the race detector")
	}
	plain := text(`Derive([("dev","%A-dev","",""),("out","%A","","")],[("%A.drv",["dev","out"]),("%B.drv",["out"])],["%B","%C"],"x86_64-linux","%B",["-e","%C"],[("a","1"),("dev","%A-dev"),("out","%A")])`)
	escaped := strings.Replace(plain, `"1"`, `"\"1\n"`, 1)
	var inputs []string
	for i := range 4354 { // the number of inputs of the largest derivation in nixpkgs
		names := []string{`"out"`, `"dev","out"`, `"lib"`}[i%3]
		inputs = append(inputs, fmt.Sprintf(`("/nix/store/%s-n%04d.drv",[%s])`, digits, i, names))
	}
	large := strings.Replace(plain, `[("`+string(p("a.drv"))+`",["dev","out"]),("`+string(p("b.drv"))+`",["out"])]`, "["+strings.Join(inputs, ",")+"]", 1)
	if len(large) < 4354*len(digits) {
		t.Fatal("the large derivation is not large")
	}
	for text, most := range map[string]float64{plain: 7, escaped: 8, large: 24} {
		if got := testing.AllocsPerRun(100, func() {
			if _, err := derivation.Parse(text); err != nil {
				t.Fatal(err)
			}
		}); got > most {
			t.Errorf("%v allocations, want at most %v", got, most)
		}
	}
}
