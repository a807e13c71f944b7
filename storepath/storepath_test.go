package storepath_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/nixbase32"
	"pix/nixhash"
	"pix/storepath"
)

const digits = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q"

func ExampleDir_TextPath() {
	contents := nixhash.Sum(nixhash.SHA256, []byte("hello world"))
	p, err := storepath.DefaultDir.TextPath("hello.txt", contents, nil)
	fmt.Println(p, err)
	// Output: /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt <nil>
}

func ExampleDir_ParseInside() {
	p, rest, err := storepath.DefaultDir.ParseInside("/nix/store/" + digits + "-bash-5.2/bin/bash")
	fmt.Println(p.HashPart(), p.Name(), rest, err)
	// Output: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q bash-5.2 /bin/bash <nil>
}

func TestParse(t *testing.T) {
	for _, s := range []string{
		"/nix/store/" + digits + "-x",
		"/gnu/store/" + digits + "-x",
		"/s/" + digits + "-+-._?=09azAZ",
		"/nix/store/" + digits + "-.x",
		"/nix/store/" + digits + "-...",
		"/nix/store/" + digits + "--",
		"/nix/store/" + digits + "-" + strings.Repeat("n", 211),
	} {
		p, err := storepath.Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
			continue
		}
		if again, err := p.Dir().Parse(s); err != nil || again != p {
			t.Errorf("%q in its own directory: %v", s, err)
		}
		if again, err := p.Dir().ParseBase(p.HashPart() + "-" + p.Name()); err != nil || again != p {
			t.Errorf("ParseBase of the hash part and name of %q: %q, %v", s, again, err)
		}
	}
	for _, s := range []string{
		"", "/", "x", digits + "-x", "/" + digits + "-x", "nix/store/" + digits + "-x",
		"/nix/store/", "/nix/store", "/nix/store/x", "/nix/store/" + digits, "/nix/store/" + digits + "-",
		"/nix/store/" + digits + "x-", "/nix/store/" + digits + "_x",
		"/nix/store/" + digits + "-x/", "/nix/store/" + digits + "-x/bin",
		"/nix//store/" + digits + "-x", "/nix/store//" + digits + "-x", "/nix/../store/" + digits + "-x",
		"/nix/store/e" + digits[1:] + "-x", "/nix/store/G" + digits[1:] + "-x", "/nix/store/" + digits[1:] + "--x",
		"/nix/store/" + digits + "-.", "/nix/store/" + digits + "-..", "/nix/store/" + digits + "-.-x", "/nix/store/" + digits + "-..-x",
		"/nix/store/" + digits + "-a b", "/nix/store/" + digits + "-é", "/nix/store/" + digits + "-a\x00", "/nix/store/" + digits + "-a~",
		"/nix/store/" + digits + "-" + strings.Repeat("n", 212),
	} {
		_, err := storepath.Parse(s)
		var bad *storepath.Error
		if !errors.As(err, &bad) {
			t.Errorf("Parse(%q): %v, want an Error", s, err)
		}
		if _, err := storepath.DefaultDir.Parse(s); err == nil {
			t.Errorf("DefaultDir.Parse(%q): no error", s)
		}
	}
	if _, err := storepath.DefaultDir.Parse("/gnu/store/" + digits + "-x"); err == nil {
		t.Error("a path in another directory was accepted")
	}
	if _, err := storepath.DefaultDir.Parse("/nix/store2/" + digits + "-x"); err == nil {
		t.Error("a path in a directory with the same prefix was accepted")
	}
}

func TestParseInside(t *testing.T) {
	for s, want := range map[string]string{
		"/nix/store/" + digits + "-x":     "",
		"/nix/store/" + digits + "-x/":    "/",
		"/nix/store/" + digits + "-x/a/b": "/a/b",
	} {
		p, rest, err := storepath.DefaultDir.ParseInside(s)
		if err != nil || p != "/nix/store/"+digits+"-x" || rest != want {
			t.Errorf("ParseInside(%q) = %q, %q, %v", s, p, rest, err)
		}
	}
	if _, _, err := storepath.DefaultDir.ParseInside("/nix/store/.links/x"); err == nil {
		t.Error("a path outside any store object was accepted")
	}
}

// CheckName accepts exactly the bytes that IsNameByte accepts.
func TestIsNameByte(t *testing.T) {
	for c := range 256 {
		err := storepath.CheckName("x" + string([]byte{byte(c)}))
		if got := storepath.IsNameByte(byte(c)); got != (err == nil) {
			t.Errorf("IsNameByte(%#x) = %v, but CheckName: %v", c, got, err)
		}
	}
}

// No accessor panics on the zero value.
func TestZero(t *testing.T) {
	var p storepath.Path
	if p.Dir() != "" || p.Base() != "" || p.HashPart() != "" || p.Name() != "" || p.IsDerivation() {
		t.Error("the zero path has non-empty parts")
	}
	var c storepath.ContentAddress
	if c.String() != "" || !c.IsZero() || c.MethodAlgorithm() == "" {
		t.Errorf("the zero content address prints as %q", c.String())
	}
}

// nix-store and nix-instantiate 2.8.0 printed these paths.
func TestPaths(t *testing.T) {
	dir := storepath.DefaultDir
	hello, err := dir.TextPath("hello.txt", nixhash.Sum(nixhash.SHA256, []byte("hello world")), nil)
	if err != nil {
		t.Fatal(err)
	}
	text := nixhash.Sum(nixhash.SHA256, []byte("abc "+hello))
	// The NAR hashes of a file that contains "abc".
	narSHA256, err1 := nixhash.Parse("sha256:11a71b4754d812f4aea20161c533bdaa112ac5c853013e65d3aa9640b5735230")
	narSHA1, err2 := nixhash.Parse("sha1:1324fc4d1c8b0eb1e368844e71058a377b961318")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		path func() (storepath.Path, error)
		want storepath.Path
	}{
		{"builtins.toFile, with a reference given twice", func() (storepath.Path, error) {
			return dir.TextPath("x", text, []storepath.Path{hello, hello})
		}, "/nix/store/aahc51zrl72a28cnlqmlc3pxjwyp4jbh-x"},
		{"nix-store --add", func() (storepath.Path, error) {
			return dir.SourcePath("x", narSHA256, storepath.References{})
		}, "/nix/store/kgxxdczi0qmgi6fr45i5kq3c45mkm2bv-x"},
		{"nix-store --add-fixed sha256", func() (storepath.Path, error) {
			return fixed(dir, storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("abc")))
		}, "/nix/store/wg5dqh07jh5lgg9nvzq5skm9i3qkhl00-x"},
		{"nix-store --add-fixed --recursive sha1", func() (storepath.Path, error) {
			return fixed(dir, storepath.NAR, narSHA1)
		}, "/nix/store/zzwiva0k0wxi8cmx7hwci90vkbg346b7-x"},
	} {
		if got, err := c.path(); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.what, got, err, c.want)
		}
	}
}

// The fingerprints are those that the Nix manual describes, and their folded hash is in the path.
func TestFingerprints(t *testing.T) {
	dir := storepath.DefaultDir
	abc, abc1 := nixhash.Sum(nixhash.SHA256, []byte("abc")), nixhash.Sum(nixhash.SHA1, []byte("abc"))
	a, b := storepath.Path("/nix/store/00000000000000000000000000000000-a"), storepath.Path("/nix/store/11111111111111111111111111111111-b")
	hash := "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad:/nix/store:x"
	for _, c := range []struct {
		method     storepath.Method
		hash       nixhash.Hash
		references storepath.References
		want       string
	}{
		{storepath.Text, abc, storepath.References{Others: []storepath.Path{b, a, b}}, "text:" + string(a) + ":" + string(b) + ":" + hash},
		{storepath.NAR, abc, storepath.References{Others: []storepath.Path{a}, Self: true}, "source:" + string(a) + ":self:" + hash},
		{storepath.NAR, abc1, storepath.References{}, "output:out:" + nixhash.Sum(nixhash.SHA256, []byte("fixed:out:r:sha1:a9993e364706816aba3e25717850c26c9cd0d89d:")).WithBase16() + ":/nix/store:x"},
		{storepath.Flat, abc, storepath.References{}, "output:out:" + nixhash.Sum(nixhash.SHA256, []byte("fixed:out:sha256:"+abc.Base16()+":")).WithBase16() + ":/nix/store:x"},
	} {
		ca, err := storepath.NewContentAddress(c.method, c.hash)
		if err != nil {
			t.Fatal(err)
		}
		got, err := dir.FixedOutputFingerprint("x", ca, c.references)
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", ca, got, err, c.want)
		}
		path, err := dir.FixedOutputPath("x", ca, c.references)
		checkFolded(t, path, err, got)
	}
	got, err := dir.OutputFingerprint("dev", abc, "x")
	if want := "output:dev:" + hash + "-dev"; got != want || err != nil {
		t.Errorf("an output: %s, %v, want %s", got, err, want)
	}
	path, err := dir.OutputPath("dev", abc, "x")
	checkFolded(t, path, err, got)
	_, err1 := dir.Fingerprint("text", abc, "bad/name")
	_, err2 := dir.OutputFingerprint("out", abc, "bad/name")
	_, err3 := dir.FixedOutputFingerprint("x", storepath.ContentAddress{}, storepath.References{})
	for i, err := range []error{err1, err2, err3} {
		if _, ok := errors.AsType[*storepath.Error](err); !ok {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

// checkFolded checks that a path has the hash part of a fingerprint.
func checkFolded(t *testing.T, path storepath.Path, err error, fingerprint string) {
	t.Helper()
	sum := nixhash.Sum(nixhash.SHA256, []byte(fingerprint))
	if part := nixbase32.EncodeToString(nixhash.Compress(sum.Digest(), storepath.HashPartSize)); err != nil || path.HashPart() != part {
		t.Errorf("%s, %v does not have the hash part %s", path, err, part)
	}
}

func fixed(dir storepath.Dir, m storepath.Method, h nixhash.Hash) (storepath.Path, error) {
	ca, err := storepath.NewContentAddress(m, h)
	if err != nil {
		return "", err
	}
	return dir.FixedOutputPath("x", ca, storepath.References{})
}

func TestFixedOutputPathRejectsInvalid(t *testing.T) {
	dir := storepath.DefaultDir
	sha256 := nixhash.Sum(nixhash.SHA256, []byte("abc"))
	sha512 := nixhash.Sum(nixhash.SHA512, []byte("abc"))
	other := storepath.Path("/nix/store/" + digits + "-x")
	ca := func(m storepath.Method, h nixhash.Hash) storepath.ContentAddress {
		c, err := storepath.NewContentAddress(m, h)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		what string
		ca   storepath.ContentAddress
		name string
		refs storepath.References
	}{
		{"no content address", storepath.ContentAddress{}, "x", storepath.References{}},
		{"a text that refers to itself", ca(storepath.Text, sha256), "x", storepath.References{Self: true}},
		{"a text with SHA-512", ca(storepath.Text, sha512), "x", storepath.References{}},
		{"git with SHA-512", ca(storepath.Git, sha512), "x", storepath.References{}},
		{"a flat file with references", ca(storepath.Flat, sha256), "x", storepath.References{Others: []storepath.Path{other}}},
		{"a NAR with SHA-512 and references", ca(storepath.NAR, sha512), "x", storepath.References{Self: true}},
		{"an illegal name", ca(storepath.NAR, sha256), "a b", storepath.References{}},
		{"a reference in another store", ca(storepath.NAR, sha256), "x", storepath.References{Others: []storepath.Path{"/gnu/store/" + digits + "-x"}}},
	} {
		p, err := dir.FixedOutputPath(c.name, c.ca, c.refs)
		var bad *storepath.Error
		if !errors.As(err, &bad) || p != "" {
			t.Errorf("%s: %q, %v, want an Error", c.what, p, err)
		}
	}
}

// The placeholders come from Nix's own tests and from builtins.placeholder.
func TestPlaceholders(t *testing.T) {
	if got := storepath.OwnPlaceholder("out"); got != "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9" {
		t.Errorf("placeholder out = %s", got)
	}
	p, err := storepath.OutputPlaceholder("/nix/store/"+digits+"-foo.drv", "out")
	if err != nil || p != "/0c6rn30q4frawknapgwq386zq358m8r6msvywcvc89n6m5p2dgbz" {
		t.Errorf("placeholder of an output = %s, %v", p, err)
	}
	if _, err := storepath.OutputPlaceholder("/nix/store/"+digits+"-foo", "out"); err == nil {
		t.Error("OutputPlaceholder accepted a path that is not a derivation")
	}
	first, err := storepath.OutputPlaceholder("/nix/store/"+digits+"-foo.drv.drv", "out")
	if err != nil {
		t.Fatal(err)
	}
	p, err = first.Output("out")
	if err != nil || p != "/0gn6agqxjyyalf0dpihgyf49xq5hqxgw100f0wydnj6yqrhqsb3w" {
		t.Errorf("placeholder of a nested output = %s, %v", p, err)
	}
	for _, bad := range []storepath.Placeholder{"", "/", "x", "/nix", p[1:], p + "0"} {
		if _, err := bad.Output("out"); err == nil {
			t.Errorf("Output of %q: no error", bad)
		}
	}
}

func TestContentAddress(t *testing.T) {
	for _, s := range []string{
		"text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
		"fixed:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
		"fixed:r:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
		"fixed:git:sha1:x0xf8v9fxf3jk8zln1cwlsrmhqvp0f88",
	} {
		ca, err := storepath.ParseContentAddress(s)
		if err != nil || ca.String() != s {
			t.Errorf("%q prints as %q, %v", s, ca, err)
		}
		m, a, err := storepath.ParseMethodAlgorithm(storepath.FormatMethodAlgorithm(ca.Method(), ca.Hash().Algorithm()))
		if err != nil || m != ca.Method() || a != ca.Hash().Algorithm() {
			t.Errorf("%q: method and algorithm are parsed as %v, %v, %v", s, m, a, err)
		}
		if m, rest := storepath.CutMethod(ca.MethodAlgorithm()); m != ca.Method() || rest != a.String() {
			t.Errorf("CutMethod(%q) = %v, %q", ca.MethodAlgorithm(), m, rest)
		}
		if m, err := storepath.ParseMethod(ca.Method().String()); err != nil || m != ca.Method() {
			t.Errorf("ParseMethod(%q) = %v, %v", ca.Method(), m, err)
		}
	}
	for _, s := range []string{
		"", "text", "fixed:", "text:sha256", "text:sha256:", "fixed:r:sha256", "fixed:x:sha256:0", "fixed:text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
		"source:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s", "text:r:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
		"fixed:sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
	} {
		var bad *storepath.Error
		if _, err := storepath.ParseContentAddress(s); !errors.As(err, &bad) {
			t.Errorf("ParseContentAddress(%q): %v, want an Error", s, err)
		}
	}
	if _, _, err := storepath.ParseMethodAlgorithm("fixed:sha256:"); err == nil {
		t.Error("ParseMethodAlgorithm accepted a trailing colon")
	}
	if m, err := storepath.ParseMethod("recursive"); err != nil || m != storepath.NAR {
		t.Errorf("recursive is %v, %v", m, err)
	}
}

func TestJSON(t *testing.T) {
	type object struct {
		Dir  storepath.Dir
		Path storepath.Path
		CA   storepath.ContentAddress
	}
	text := `{"Dir":"/nix/store","Path":"/nix/store/` + digits + `-x","CA":"text:sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"}`
	var o object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(o); err != nil || string(again) != text {
		t.Errorf("%s, %v", again, err)
	}
	for _, bad := range []string{`{"Dir":"nix"}`, `{"Path":"/nix/store/x"}`, `{"CA":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &o); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	if _, err := json.Marshal(storepath.Path("/nix/store/x")); err == nil {
		t.Error("an invalid path was marshalled")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/nix/store/" + digits + "-x")
	f.Add("/nix/store/" + digits + "-..-x")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := storepath.Parse(s)
		if err != nil {
			return
		}
		if string(p.Dir())+"/"+p.HashPart()+"-"+p.Name() != s {
			t.Errorf("the parts of %q are %q, %q, %q", s, p.Dir(), p.HashPart(), p.Name())
		}
	})
}
