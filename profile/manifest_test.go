package profile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/storepath"
)

const (
	helloPath = "/nix/store/00000000000000000000000000000000-hello-2.12"
	manPath   = "/nix/store/11111111111111111111111111111111-hello-2.12-man"
	drvPath   = "/nix/store/22222222222222222222222222222222-hello-2.12.drv"
)

// packages returns the packages of a manifest, a line each.
func packages(m *Manifest, err error) string {
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, p := range m.Packages {
		line := fmt.Sprintf("%d %s %v %d %q", m.Version, p.Name, p.Active, p.Priority, p.Paths)
		if p.URL != "" {
			line += fmt.Sprintf(" %s %s %s %q", p.OriginalURL, p.URL, p.AttrPath, p.Outputs)
		}
		if p.Derivation != "" {
			line += " " + string(p.Derivation)
		}
		lines = append(lines, line+p.System)
	}
	return strings.Join(lines, "\n")
}

func TestParseManifestJSON(t *testing.T) {
	path := `["` + helloPath + `"]`
	quoted := fmt.Sprintf("[%q]", helloPath)
	for _, test := range []struct{ text, want string }{
		{`{"version":3,"elements":{}}`, ""},
		{`{"version":3,"elements":{"hello":{"active":true,"attrPath":"a.hello","originalUrl":"flake:nixpkgs","outputs":["out","man"],"priority":7,"storePaths":["` + helloPath + `","` + manPath + `"],"url":"github:NixOS/nixpkgs/1"},"b":{"active":false,"storePaths":` + path + `}}}`,
			"3 b false 5 " + quoted + "\n" + fmt.Sprintf(`3 hello true 7 [%q %q] flake:nixpkgs github:NixOS/nixpkgs/1 a.hello ["out" "man"]`, helloPath, manPath)},
		{`{"version":1,"elements":[{"active":true,"attrPath":"legacyPackages.x86_64-linux.hello","originalUri":"flake:nixpkgs","uri":"u","storePaths":` + path + `}]}`,
			"1 hello true 5 " + quoted + " flake:nixpkgs u legacyPackages.x86_64-linux.hello []"},
		{`{"version":2,"elements":[{"active":true,"storePaths":` + path + `},{"active":true,"storePaths":` + path + `},{"active":true,"storePaths":` + path + `}]}`,
			"2 hello true 5 " + quoted + "\n2 hello-1 true 5 " + quoted + "\n2 hello-2 true 5 " + quoted},
		{`{"version":2,"elements":[{"active":true,"attrPath":"defaultPackage.x86_64-linux","originalUrl":"github:a/tool/main?dir=sub","url":"u","storePaths":[]},{"active":true,"attrPath":"packages.x86_64-linux.default","originalUrl":"github:a/tool/main","url":"u","storePaths":[]},{"active":true,"attrPath":"packages.x86_64-linux.default","originalUrl":"git+file:///home/x/repo","url":"u","storePaths":[]}]}`,
			"2 repo true 5 [] git+file:///home/x/repo u packages.x86_64-linux.default []\n2 sub true 5 [] github:a/tool/main?dir=sub u defaultPackage.x86_64-linux []\n2 tool true 5 [] github:a/tool/main u packages.x86_64-linux.default []"},
		{`{"version":4,"elements":{}}`, "has version 4"},
		{`{"elements":{}}`, "has version 0"},
		{`{"version":3}`, `no member "elements"`},
		{`{"version":"3","elements":{}}`, `member "version" is not valid`},
		{`{"version":3,"elements":{"a":{"storePaths":[]}}}`, `no member "active"`},
		{`{"version":3,"elements":{"a":{"active":true,"storePaths":["/etc/passwd"]}}}`, `package "a": `},
		{`{"version":3,"elements":{"a":{"active":true,"storePaths":["` + helloPath + `/../x"]}}}`, `package "a": `},
		{`{"version":3,"elements":{"a":{"active":true},"a":{"active":true}}}`, `a`},
		{`{"version":3,"elements":[[]]}`, `package 1`},
		{`[]`, "manifest.json"}, {``, "manifest.json"}, {`{"version":3,"elements":{}} x`, "manifest.json"},
	} {
		got := packages(ParseManifestJSON(storepath.DefaultDir, []byte(test.text)))
		failed := strings.HasPrefix(got, "cannot read the packages in 'manifest.json': ")
		if got != test.want && (!failed || test.want == "" || !strings.Contains(got, test.want)) {
			t.Errorf("%s:\n%s\nwant\n%s", test.text, got, test.want)
		}
	}
}

// The time does not grow with the square of the number of packages that would have one name: this would take hours.
func TestManyEqualNames(t *testing.T) {
	const n = 1 << 17
	names := newUniqueNamer()
	for i := range n {
		want := "hello"
		if i > 0 {
			want = fmt.Sprint("hello-", i)
		}
		if got := names.unique("hello"); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestParseManifestNix(t *testing.T) {
	quoted := fmt.Sprintf("[%q]", helloPath)
	hello := `{ drvPath = "` + drvPath + `"; meta = { available = true; broken = false; description = "a \"b\" \\ \n \$\{x} é"; license = { free = true; }; maintainers = [ { email = "a@b"; "github id" = 42; } ]; position = "/nix/x.nix:1"; priority = -10; ratio = 1.5; none = null; file = /etc/x; }; name = "hello-2.12"; out = { outPath = "` + helloPath + `"; }; outPath = "` + helloPath + `"; outputs = [ "out" ]; system = "x86_64-linux"; type = "derivation"; }`
	for _, test := range []struct{ text, want string }{
		{"[ ]", ""}, {"[]\n", ""},
		{"[ " + hello + " ]", "0 hello-2.12 true 0 " + quoted + " " + drvPath + "x86_64-linux"},
		{`[ { name = "x"; outPath = "` + helloPath + `"; } ]`, "0 x true 0 " + quoted},
		{`[ { name = "x"; outPath = "` + helloPath + `"; man = { outPath = "` + manPath + `"; }; outputs = [ "man" ]; } ]`, fmt.Sprintf("0 x true 0 [%q]", manPath)},
		{`[ { name = "x"; outPath = "` + helloPath + `"; outputs = [ "man" ]; } ]`, `output "man" has no outPath`},
		{`[ { name = "x"; outPath = "` + helloPath + `"; outputs = [ 1 ]; } ]`, `output "" has no outPath`},
		{`[ { name = "x"; outPath = "/etc"; } ]`, "package 1"},
		{`[ { name = "x"; outPath = 1; } ]`, `"outPath" is not a string`},
		{`[ { name = "x"; name = "y"; } ]`, `"name" is defined twice`},
		{`[ { name = "${builtins.readFile /etc/passwd}"; } ]`, "expected a string without ${ at offset 12"},
		{`[ (import /x) ]`, "expected a value at offset 2; pix reads what nix-env writes, and evaluates nothing"},
		{`[ builtins ]`, "expected a value at offset 2"},
		{`[ rec { a = b; } ]`, "expected a value"}, {`[ { a = b; } ]`, "expected a value"}, {`[ { inherit x; } ]`, "expected ="},
		{`[ <CODE> ]`, "expected a value"}, {`[ { a = 1 } ]`, "expected ;"}, {`[ { a 1; } ]`, "expected ="}, {`[ { ; } ]`, "expected the name"},
		{`[ "x`, `expected " at`}, {`[ "x\`, `expected " at`}, {`[`, "expected a value"}, {``, "expected a value"}, {`[ ] x`, "expected the end of the file"},
		{`{ }`, "it is not a list"}, {`[ 1 ]`, "package 1 is not a set"}, {`/etc/x`, "it is not a list"},
		{strings.Repeat("[ ", 1<<20), "at most 64 nested values"},
		{"[ " + strings.Repeat("1 ", maxValues) + "]", "at most"},
		{"x: x", "expected a value"}, {"[ ''x'' ]", "expected a value"}, {"# [ ]", "expected a value"},
	} {
		got := packages(ParseManifestNix(storepath.DefaultDir, []byte(test.text)))
		failed := strings.HasPrefix(got, "cannot read the packages in 'manifest.nix': ")
		if got != test.want && (!failed || test.want == "" || !strings.Contains(got, test.want)) {
			t.Errorf("%.200s:\n%s\nwant\n%s", test.text, got, test.want)
		}
	}
}

func FuzzParseManifestNix(f *testing.F) {
	f.Add(`[ { name = "x"; outPath = "` + helloPath + `"; out = { outPath = "` + helloPath + `"; }; outputs = [ "out" ]; meta = { a = [ 1 true ]; }; } ]`)
	f.Add(`[ "\n\${" ]`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseManifestNix(storepath.DefaultDir, []byte(text))
		if err != nil {
			var manifestErr *ManifestError
			if !errors.As(err, &manifestErr) {
				t.Error(err)
			}
			return
		}
		for _, p := range m.Packages {
			for _, path := range p.Paths {
				if _, err := storepath.Parse(string(path)); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
