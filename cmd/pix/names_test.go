package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseStoreName(t *testing.T) {
	const hash = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q"
	const path, drv = "/nix/store/" + hash + "-x-1.0", "/nix/store/" + hash + "-x.drv"
	t.Chdir(t.TempDir())
	for link, target := range map[string]string{
		"result": path, "relative": "./result", "bin": path + "/bin", "drv": drv, "a!b": path, "elsewhere": "/tmp", "loop": "loop",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ arg, path, inside, built, hashPart string }{
		{arg: path, path: path},
		{arg: path + "/", path: path},
		{arg: path + "//", path: path},
		{arg: "//nix/store//" + hash + "-x-1.0", path: path},
		{arg: "/nix/./store/../store/" + hash + "-x-1.0", path: path},
		{arg: path + "/bin/a^b!c", path: path, inside: "/bin/a^b!c"},
		{arg: "result", path: path},
		{arg: "./result/", path: path},
		{arg: "relative", path: path},
		{arg: "result/bin/x", path: path, inside: "/bin/x"},
		{arg: "bin/x", path: path, inside: "/bin/x"},
		{arg: filepath.Join(here, "bin"), path: path, inside: "/bin"},
		{arg: "a!b", path: path},
		{arg: drv + "^out", path: drv, built: drv + "^out"},
		{arg: drv + "!out", path: drv, built: drv + "^out"},
		{arg: drv + "!out,dev", path: drv, built: drv + "^dev,out"},
		{arg: "./drv^*", path: drv, built: drv + "^*"},
		{arg: drv + "^y.drv^out", path: drv, built: drv + "^y.drv^out"},
		{arg: hash, hashPart: hash},
		{arg: "/nix/store/" + hash, hashPart: hash},
		{arg: "g1w7hy3", hashPart: "g1w7hy3"},
		{arg: ""}, {arg: "/"}, {arg: "."}, {arg: "hello"}, {arg: "nixpkgs#hello"}, {arg: "g1w7hy"}, {arg: "missing"},
		{arg: "elsewhere"}, {arg: "loop"}, {arg: "/nix/store"}, {arg: "/nix/store/x"}, {arg: drv + "^"}, {arg: drv + "^a b"}, {arg: "/gnu/store/" + hash + "-x"},
	} {
		n, err := parseStoreName("/nix/store", test.arg)
		built := ""
		if n.built != nil {
			built = n.built.String()
		}
		switch wantError := test.path == "" && test.hashPart == ""; {
		case (err != nil) != wantError:
			t.Errorf("%q: error %v, want one: %v", test.arg, err, wantError)
		case err == nil && (string(n.path) != test.path || n.inside != test.inside || built != test.built || n.hashPart != test.hashPart):
			t.Errorf("%q: %s, inside %q, built %q, hash part %q", test.arg, n.path, n.inside, built, n.hashPart)
		}
	}
}
