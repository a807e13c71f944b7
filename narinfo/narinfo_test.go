package narinfo_test

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// example is a complete file as Nix writes it, signed with the key of Nix's own tests.
const example = `StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
Compression: xz
FileHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3
FileSize: 4029176
NarHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm
NarSize: 34878
References: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
Deriver: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv
Sig: a:ZE30UrOh26/EYvUaczjJtz6c4WcRYke6IEhDNN5TiFRF6Uu+H8lHofponlhfZxDDrCUlfstS/vtv3Xm2F6M/AA==
Sig: a-1:WsjxK4/EI74COtzMDI+VCjQU9O4FydK0+YeY1CE5hUevogd+T+CPvNXza7oog3GTMS+ZlBwsC2S3ppwusKnJDg==
CA: fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh
`

// minimal has only the keys that Nix requires.
const minimal = `StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
URL: nar/x.nar
NarHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm
NarSize: 34878
`

const (
	foo storepath.Path = "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo"
	bar storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar"
)

func parse(t testing.TB, text string, opts *narinfo.Options) *narinfo.NarInfo {
	t.Helper()
	n, err := narinfo.Parse(text, opts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func show(t testing.TB, n *narinfo.NarInfo) string {
	t.Helper()
	text, err := n.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func Example() {
	n, err := narinfo.Parse(`StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
Compression: xz
NarHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm
NarSize: 34878
References: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar
`, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(n.Path, n.References, n.Compression)

	secret, err := signature.ParseSecretKey("test-key:tU7tTvLcScf8pmz/eTV0BEtLmRsPpZfKaRcd0nCN+pysBZPHSeg61/u2oc7mIOewfuAY1V1BiX32homTaDJ2Jw==")
	if err != nil {
		panic(err)
	}
	if err := n.Sign(secret); err != nil {
		panic(err)
	}
	good, err := n.CheckSignatures(signature.NewKeySet(secret.Public()))
	fmt.Println(len(good), err)
	// Output:
	// /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo [/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar] xz
	// 1 <nil>
}

func ExampleNew() {
	info := &store.PathInfo{
		Path:    "/nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo",
		NARHash: nixhash.Sum(nixhash.SHA256, []byte("the archive")),
		NARSize: 11,
	}
	n := narinfo.New(info, "none", info.NARHash, info.NARSize)
	text, err := n.MarshalText()
	if err != nil {
		panic(err)
	}
	fmt.Println(narinfo.FileName(info.Path))
	fmt.Print(strings.ReplaceAll(string(text), " \n", "\n"))
	// Output:
	// n5wkd9frr45pa74if5gpz9j7mifg27fh.narinfo
	// StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
	// URL: nar/023fah7xlfq0czcw55zyg8kbsggx7i3w9qdlgqiz1x08s5a8rlf8.nar
	// Compression: none
	// FileHash: sha256:023fah7xlfq0czcw55zyg8kbsggx7i3w9qdlgqiz1x08s5a8rlf8
	// FileSize: 11
	// NarHash: sha256:023fah7xlfq0czcw55zyg8kbsggx7i3w9qdlgqiz1x08s5a8rlf8
	// NarSize: 11
	// References:
}

func TestParse(t *testing.T) {
	n := parse(t, example, nil)
	hash := func(s string) nixhash.Hash {
		h, err := nixhash.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	ca, err := storepath.ParseContentAddress("fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh")
	if err != nil {
		t.Fatal(err)
	}
	want := &narinfo.NarInfo{
		PathInfo: store.PathInfo{
			Path:       foo,
			Deriver:    bar + ".drv",
			NARHash:    hash("sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm"),
			NARSize:    34878,
			References: []storepath.Path{bar, foo},
			Signatures: []string{ // sorted as strings; they print in Nix's order
				"a-1:WsjxK4/EI74COtzMDI+VCjQU9O4FydK0+YeY1CE5hUevogd+T+CPvNXza7oog3GTMS+ZlBwsC2S3ppwusKnJDg==",
				"a:ZE30UrOh26/EYvUaczjJtz6c4WcRYke6IEhDNN5TiFRF6Uu+H8lHofponlhfZxDDrCUlfstS/vtv3Xm2F6M/AA==",
			},
			CA: ca,
		},
		URL:         "nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz",
		Compression: "xz",
		FileHash:    hash("sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3"),
		FileSize:    4029176,
	}
	if !reflect.DeepEqual(n, want) {
		t.Errorf("%+v\nwant\n%+v", n, want)
	}
	if got := show(t, n); got != example {
		t.Errorf("it prints as\n%s", got)
	}
	for _, lenient := range []bool{false, true} {
		again, err := narinfo.ParseBytes([]byte(example), &narinfo.Options{Lenient: lenient, StoreDir: "/nix/store"})
		if err != nil || !reflect.DeepEqual(again, n) {
			t.Errorf("lenient %v: %+v, %v", lenient, again, err)
		}
	}
	if got := narinfo.ArchiveURL(n.FileHash, n.Compression); got != n.URL {
		t.Errorf("ArchiveURL = %q", got)
	}
}

// A verdict is the result of Nix 2.34 for a text: either lines that it prints again, or the line and the
// key of an error.
type verdict struct {
	what, text string
	want       string // lines that the printed result must contain; "" if the text is rejected
	line       int    // line of the error
	key        string
	lenient    bool // a lenient reader accepts it
}

// verdicts are the results of Nix 2.34. TestRealVerdicts checks them with Nix.
var verdicts = []verdict{
	{what: "no compression", text: minimal, want: "Compression: bzip2\n"},
	{what: "an empty compression", text: minimal + "Compression: \n", want: "Compression: bzip2\n"},
	{what: "an unknown compression", text: minimal + "Compression: a b\n", want: "Compression: a b\n"},
	{what: "no FileHash, no FileSize", text: minimal, want: "Compression: bzip2\nNarHash: "},
	{what: "no references", text: minimal + "References: \n", want: "References: \n"},
	{what: "no deriver", text: minimal + "Deriver: unknown-deriver\n", want: "References: \n"},
	{what: "an unknown deriver after a known one", text: minimal + "Deriver: " + bar.Base() + "\nDeriver: unknown-deriver\n", want: "Deriver: " + bar.Base() + "\n"},
	{what: "an unknown key", text: minimal + "System: x86_64-linux\nX: \n", want: "References: \nSystem: x86_64-linux\nX: \n"},
	{what: "no key", text: minimal + ": x\n", want: ": x\n"},
	{what: "no space", text: minimal + "URL:yx\n", want: "URL: x\n"},
	{what: "two spaces", text: minimal + "URL:  x\n", want: "URL:  x\n"},
	{what: "a value swallows the next line", text: minimal + "URL:\nSig: x\n", want: "URL: Sig: x\n"},
	{what: "an unknown key swallows the next line", text: minimal + "X:\nSig: x\n", want: "X: Sig: x\n"},
	{what: "a blank line takes the next one with it", text: minimal + "\nURL: x\n", want: "URL: nar/x.nar\n"},
	{what: "a line without a colon takes the next one with it", text: minimal + "x\nURL: x\n", want: "URL: nar/x.nar\n"},
	{what: "a URL with a colon", text: minimal + "URL: https://example.org/x?a:b\n", want: "URL: https://example.org/x?a:b\n"},
	{what: "a URL with a carriage return", text: minimal + "URL: x\r\n", want: "URL: x\r\n"},
	{what: "the last of two counts", text: minimal + "URL: x\nNarSize: 7\nStorePath: " + string(foo) + "\n", want: "URL: x\n"},
	{what: "References after empty ones", text: minimal + "References: \nReferences: " + bar.Base() + "\n", want: "References: " + bar.Base() + "\n"},
	{what: "References in any order", text: minimal + "References:   " + foo.Base() + "  " + bar.Base() + " " + foo.Base() + " \n", want: "References: " + bar.Base() + " " + foo.Base() + "\n"},
	{what: "a path that is not clean", text: minimal + "StorePath: /nix//store/./x/../" + foo.Base() + "/\n", want: "StorePath: " + string(foo) + "\n"},
	{what: "hashes in hex", text: minimal + "NarHash: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n", want: "NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n"},
	{what: "hashes as SRI", text: minimal + "NarHash: sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\n", want: "NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n"},
	{what: "sizes with signs and zeros", text: minimal + "NarSize: +007\n", want: "NarSize: 7\n"},
	{what: "the largest size", text: minimal + "NarSize: 18446744073709551615\n", want: "NarSize: 18446744073709551615\n"},
	{what: "a FileSize alone", text: minimal + "FileSize: 7\n", want: "FileSize: 7\n"},
	{what: "a FileHash alone", text: minimal + "FileHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n", want: "FileSize: 0\n"},
	{what: "signatures of any length, in Nix's order, each once", text: minimal + "Sig: b:zz\nSig: a:AAA\nSig: a:////\nSig: a-1:AAAA\nSig: a:AAA=\n", want: "Sig: a:AAA=\nSig: a:////\nSig: a-1:AAAA\nSig: b:zw==\n"},
	{what: "an empty CA", text: minimal + "CA: \nCA: text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nX: x\n", want: "CA: text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n"},

	{what: "nothing", text: "", key: "StorePath"},
	{what: "no StorePath", text: minimalWithout("StorePath"), key: "StorePath"},
	{what: "no URL", text: minimalWithout("URL"), key: "URL"},
	{what: "no NarHash", text: minimalWithout("NarHash"), key: "NarHash"},
	{what: "no NarSize", text: minimalWithout("NarSize"), key: "NarSize"},
	{what: "a NarSize of zero", text: minimal + "NarSize: 0\n", key: "NarSize"},
	{what: "an empty URL", text: minimal + "URL: \n", key: "URL", lenient: true},
	{what: "no line feed at the end", text: minimal + "URL: x", line: 5, key: "URL", lenient: true},
	{what: "nothing after the last colon", text: minimal + "URL:", line: 5, key: "URL", lenient: true},
	{what: "a line feed after the last colon", text: minimal + "References:\n", line: 5, key: "References", lenient: true},
	{what: "References swallow the next line", text: minimal + "References:\nSig: a:AAAA\n", line: 5, key: "References", lenient: true},
	{what: "no colon", text: minimal + "x\n", line: 5},
	{what: "a blank line at the end", text: minimal + "\n", line: 5, lenient: true},
	{what: "carriage returns", text: strings.ReplaceAll(minimal, "\n", "\r\n"), line: 1, key: "StorePath", lenient: true},
	{what: "References twice", text: minimal + "References: " + foo.Base() + "\nReferences: \n", line: 6, key: "References", lenient: true},
	{what: "CA twice", text: minimal + strings.Repeat("CA: text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n", 2), line: 6, key: "CA"},
	{what: "a bad CA", text: minimal + "CA: x\n", line: 5, key: "CA"},
	{what: "a whole path in References", text: minimal + "References: " + string(foo) + "\n", line: 5, key: "References"},
	{what: "a tab in References", text: minimal + "References: " + foo.Base() + "\t" + bar.Base() + "\n", line: 5, key: "References"},
	{what: "a short word in References", text: minimal + "References: x\n", line: 5, key: "References"},
	{what: "a name that is not valid", text: minimal + "References: " + foo.Base() + "/x\n", line: 5, key: "References"},
	{what: "an empty deriver", text: minimal + "Deriver: \n", line: 5, key: "Deriver", lenient: true},
	{what: "a whole path as deriver", text: minimal + "Deriver: " + string(bar) + "\n", line: 5, key: "Deriver"},
	{what: "another store directory", text: minimal + "StorePath: /gnu/store/" + foo.Base() + "\n", line: 5, key: "StorePath"},
	{what: "a base name as path", text: minimal + "StorePath: " + foo.Base() + "\n", line: 5, key: "StorePath"},
	{what: "a file in a path", text: minimal + "StorePath: " + string(foo) + "/x\n", line: 5, key: "StorePath"},
	{what: "an empty FileHash", text: minimal + "FileHash: \n", line: 5, key: "FileHash", lenient: true},
	{what: "a hash without its algorithm", text: minimal + "NarHash: 1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n", line: 5, key: "NarHash"},
	{what: "a short hash", text: minimal + "NarHash: sha256:1b8m\n", line: 5, key: "NarHash"},
	{what: "an empty FileSize", text: minimal + "FileSize: \n", line: 5, key: "FileSize", lenient: true},
	{what: "a negative size", text: minimal + "NarSize: -1\n", line: 5, key: "NarSize"},
	{what: "a size of 2^64", text: minimal + "NarSize: 18446744073709551616\n", line: 5, key: "NarSize"},
	{what: "a size with a space", text: minimal + "NarSize: 1 \n", line: 5, key: "NarSize", lenient: true},
	{what: "a size in hex", text: minimal + "NarSize: 0x1\n", line: 5, key: "NarSize"},
	{what: "two signs", text: minimal + "NarSize: ++1\n", line: 5, key: "NarSize"},
	{what: "an empty signature", text: minimal + "Sig: \n", line: 5, key: "Sig", lenient: true},
	{what: "a signature without its key", text: minimal + "Sig: AAAA\n", line: 5, key: "Sig"},
	{what: "a signature with a space", text: minimal + "Sig: a: AAAA\n", line: 5, key: "Sig"},
}

// minimalWithout returns the minimal file without the line of key.
func minimalWithout(key string) string {
	var text strings.Builder
	for line := range strings.Lines(minimal) {
		if !strings.HasPrefix(line, key+":") {
			text.WriteString(line)
		}
	}
	return text.String()
}

func TestVerdicts(t *testing.T) {
	for _, v := range verdicts {
		n, err := narinfo.Parse(v.text, nil)
		if v.want != "" {
			if err != nil {
				t.Errorf("%s: %v", v.what, err)
			} else if text := show(t, n); !strings.Contains(text, v.want) {
				t.Errorf("%s: it prints as\n%swhich does not contain\n%s", v.what, text, v.want)
			} else if again := show(t, parse(t, text, nil)); again != text {
				t.Errorf("%s: it prints as\n%swhich prints as\n%s", v.what, text, again)
			}
			continue
		}
		var bad *narinfo.SyntaxError
		if !errors.As(err, &bad) || n != nil || bad.Line != v.line || bad.Key != v.key {
			t.Errorf("%s: %v, want an error in line %d, key %q", v.what, err, v.line, v.key)
		}
	}
}

// A lenient reader accepts these texts with the meaning of the example. Nix rejects them or gives them
// another meaning.
func TestLenient(t *testing.T) {
	lenient := &narinfo.Options{Lenient: true}
	want := parse(t, example, nil)
	for what, text := range map[string]string{
		"no line feed at the end": strings.TrimSuffix(example, "\n"),
		"carriage returns":        strings.ReplaceAll(example, "\n", "\r\n"),
		"blank lines":             "\n" + strings.ReplaceAll(example, "\n", "\n \t\n\n"),
		"no spaces":               strings.ReplaceAll(example, ": ", ":"),
		"many spaces":             strings.ReplaceAll(example, ": ", " : \t"),
		"spaces around lines":     " " + strings.ReplaceAll(example, "\n", " \n  "),
		"empty values":            "Compression:\nDeriver:\nSig:\nCA:\nReferences:\nFileHash:\nFileSize:\nURL:\nStorePath:\nNarHash:\nNarSize:\n" + example,
		"empty values at the end": example + "Compression: \nDeriver:\nSig: \nCA:\nReferences:\nFileHash: \nFileSize:",
	} {
		n, err := narinfo.Parse(text, lenient)
		if err != nil || !reflect.DeepEqual(n, want) {
			t.Errorf("%s: %+v, %v", what, n, err)
		}
		if n, err := narinfo.Parse(text, nil); err == nil && reflect.DeepEqual(n, want) {
			t.Errorf("%s: the strict reader accepts that too", what)
		}
	}
	n := parse(t, minimal+"X:\nY : y \n", lenient)
	if !slices.Equal(n.Unknown, []narinfo.Field{{Key: "X"}, {Key: "Y", Value: "y"}}) {
		t.Errorf("unknown keys: %q", n.Unknown)
	}
	for _, v := range verdicts {
		if v.want != "" {
			continue
		}
		if n, err := narinfo.Parse(v.text, lenient); (err == nil) != v.lenient {
			t.Errorf("%s: %+v, %v", v.what, n, err)
		}
	}
}

func TestStoreDir(t *testing.T) {
	text := strings.ReplaceAll(example, "/nix/store", "/gnu/store")
	n := parse(t, text, &narinfo.Options{StoreDir: "/gnu/store"})
	if n.Path.Dir() != "/gnu/store" || n.References[0].Dir() != "/gnu/store" || n.Deriver.Dir() != "/gnu/store" {
		t.Errorf("%+v", n.PathInfo)
	}
	if got := show(t, n); got != text {
		t.Errorf("it prints as\n%s", got)
	}
	if _, err := narinfo.Parse(example, &narinfo.Options{StoreDir: "/gnu/store"}); err == nil {
		t.Error("a path in another store directory was accepted")
	}
}

func TestPrintRejectsInvalid(t *testing.T) {
	sha1 := nixhash.Sum(nixhash.SHA1, nil)
	for what, spoil := range map[string]struct {
		key string
		do  func(n *narinfo.NarInfo)
	}{
		"no path":              {"StorePath", func(n *narinfo.NarInfo) { n.Path = "" }},
		"a bad path":           {"StorePath", func(n *narinfo.NarInfo) { n.Path = "/nix/store/x" }},
		"no URL":               {"URL", func(n *narinfo.NarInfo) { n.URL = "" }},
		"a URL of two lines":   {"URL", func(n *narinfo.NarInfo) { n.URL = "x\nSig: x" }},
		"no compression":       {"Compression", func(n *narinfo.NarInfo) { n.Compression = "" }},
		"two compressions":     {"Compression", func(n *narinfo.NarInfo) { n.Compression = "xz\n" }},
		"a FileHash by SHA-1":  {"FileHash", func(n *narinfo.NarInfo) { n.FileHash = sha1 }},
		"a NarHash by SHA-1":   {"NarHash", func(n *narinfo.NarInfo) { n.NARHash = sha1 }},
		"no NarHash":           {"NarHash", func(n *narinfo.NarInfo) { n.NARHash = nixhash.Hash{} }},
		"no NarSize":           {"NarSize", func(n *narinfo.NarInfo) { n.NARSize = 0 }},
		"a foreign reference":  {"References", func(n *narinfo.NarInfo) { n.References = []storepath.Path{"/gnu/store/" + storepath.Path(foo.Base())} }},
		"a foreign deriver":    {"Deriver", func(n *narinfo.NarInfo) { n.Deriver = "/gnu/store/" + storepath.Path(foo.Base()) }},
		"no signature":         {"Sig", func(n *narinfo.NarInfo) { n.Signatures = []string{"x"} }},
		"a name of two lines":  {"Sig", func(n *narinfo.NarInfo) { n.Signatures = []string{"x\ny:AAAA"} }},
		"a known unknown key":  {"CA", func(n *narinfo.NarInfo) { n.Unknown = []narinfo.Field{{Key: "CA", Value: "x"}} }},
		"a key with a colon":   {"X:Y", func(n *narinfo.NarInfo) { n.Unknown = []narinfo.Field{{Key: "X:Y"}} }},
		"a key of two lines":   {"X\nY", func(n *narinfo.NarInfo) { n.Unknown = []narinfo.Field{{Key: "X\nY"}} }},
		"a value of two lines": {"X", func(n *narinfo.NarInfo) { n.Unknown = []narinfo.Field{{Key: "X", Value: "\nCA: x"}} }},
	} {
		n := parse(t, example, nil)
		spoil.do(n)
		text, err := n.AppendText([]byte("before"))
		var bad *narinfo.InvalidError
		if !errors.As(err, &bad) || bad.Key != spoil.key || string(text) != "before" {
			t.Errorf("%s: %s, %v, want an InvalidError for key %q", what, text, err, spoil.key)
		} else if !strings.Contains(err.Error(), bad.Unwrap().Error()) || !strings.Contains(err.Error(), fmt.Sprintf("%q", spoil.key)) {
			t.Errorf("%s: the error is %q", what, err)
		}
	}
	n := parse(t, example, nil)
	n.References = []storepath.Path{foo, bar, foo}
	if got := show(t, n); got != example || n.References[0] != foo {
		t.Errorf("references in another order print as\n%s", got)
	}
}

func TestLimits(t *testing.T) {
	long := minimal + "X: " + strings.Repeat("x", narinfo.MaxLen)
	for what, text := range map[string]string{
		"a long file":          long,
		"many unknown keys":    minimal + strings.Repeat("X: \n", narinfo.MaxUnknown+1),
		"many short words":     minimal + "References: " + strings.Repeat("x ", narinfo.MaxLen/2-1000) + "\n",
		"a reference too long": minimal + "References: " + bar.Base() + strings.Repeat("x", narinfo.MaxLen-1000) + "\n",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := narinfo.Parse(text, nil)
		runtime.ReadMemStats(&after)
		var bad *narinfo.SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v, want a SyntaxError", what, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", what, len(err.Error()))
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 2*narinfo.MaxLen {
			t.Errorf("%s: %d bytes were allocated for %d", what, got, len(text))
		}
	}
	if _, err := narinfo.ParseBytes([]byte(long), nil); err == nil {
		t.Error("ParseBytes accepted a text that is too long")
	}
	var references strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&references, " %s-%d", bar.HashPart(), i)
	}
	if n := parse(t, minimal+"References:"+references.String()+"\n", nil); len(n.References) != 20_000 {
		t.Errorf("%d references, want 20,000", len(n.References))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	for _, v := range verdicts {
		f.Add(v.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, opts := range []*narinfo.Options{nil, {Lenient: true}} {
			n, err := narinfo.Parse(text, opts)
			if err != nil {
				var bad *narinfo.SyntaxError
				if !errors.As(err, &bad) || n != nil {
					t.Fatalf("%+v, %v", n, err)
				}
				continue
			}
			printed, err := n.MarshalText()
			if err != nil {
				var bad *narinfo.InvalidError
				if !errors.As(err, &bad) || bad.Key != "NarHash" && bad.Key != "FileHash" { // by other algorithms
					t.Fatalf("%q is parsed and cannot be printed: %v", text, err)
				}
				continue
			}
			again, err := narinfo.ParseBytes(printed, nil)
			if err != nil || !reflect.DeepEqual(n, again) {
				t.Fatalf("%q is parsed as\n%+v, prints as %q, which is parsed as\n%+v, %v", text, n, printed, again, err)
			}
			if twice := show(t, again); twice != string(printed) {
				t.Fatalf("%q prints as %q and then as %q", text, printed, twice)
			}
		}
	})
}

// A typical file of cache.nixos.org, with eight references and one signature.
var typical = "StorePath: /nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin\n" +
	"URL: nar/05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56.nar.xz\n" +
	"Compression: xz\n" +
	"FileHash: sha256:05ra3y72i3qjri7xskf9qj8kb29r6naqy1sqpbs3azi3xcigmj56\n" +
	"FileSize: 68852\n" +
	"NarHash: sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0\n" +
	"NarSize: 196040\n" +
	"References: 0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0 6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115 j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12 yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n\n" +
	"Deriver: 5rwxzi7pal3qhpsyfc16gzkh939q1np6-curl-7.82.0.drv\n" +
	"Sig: cache.nixos.org-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+vcX89fOjjRicCHmKA4RCPMVLkj6TMJ4GMX3HPVWRdD1hkeKZBQ==\n"

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := narinfo.Parse(typical, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseLenient(b *testing.B) {
	b.ReportAllocs()
	lenient := &narinfo.Options{Lenient: true}
	for b.Loop() {
		if _, err := narinfo.Parse(typical, lenient); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendText(b *testing.B) {
	n := parse(b, typical, nil)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = n.AppendText(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
